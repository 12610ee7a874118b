//! The registry: from a type to the functions that compute with it.

use std::marker::PhantomData;

use crate::superblock::SUPERBLOCK_LEN;
use crate::{
    GgmlType, Isa, Superblock,
    block::{BlockFormat, Blocks, Decode, UnpackRow},
    encode::{EncodeBlock, EncodeRow, Row},
    formats::{
        bf16, f16, f32, iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, iq4_nl, iq4_xs, mxfp4, nvfp4, q1_0, q2_0,
        q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0, tq1_0, tq2_0,
    },
};

/// One line per type.
const REGISTRY: &[Format] = &[
    Format::floats(GgmlType::F32, f32::decode, f32::encode),
    Format::floats(GgmlType::F16, f16::decode, f16::encode),
    Format::floats(GgmlType::BF16, bf16::decode, bf16::encode),
    Format::blocks::<q4_0::Q4_0, _, _, _>(),
    Format::blocks::<q4_1::Q4_1, _, _, _>(),
    Format::blocks::<q5_0::Q5_0, _, _, _>(),
    Format::blocks::<q5_1::Q5_1, _, _, _>(),
    Format::blocks::<q8_0::Q8_0, _, _, _>(),
    Format::blocks::<q2_k::Q2K, _, _, _>(),
    Format::blocks::<q3_k::Q3K, _, _, _>(),
    Format::blocks::<q4_k::Q4K, _, _, _>(),
    Format::blocks::<q5_k::Q5K, _, _, _>(),
    Format::blocks::<q6_k::Q6K, _, _, _>(),
    Format::blocks::<iq1_s::Iq1S, _, _, _>(),
    Format::blocks::<iq1_m::Iq1M, _, _, _>(),
    Format::blocks::<iq2_xxs::Iq2Xxs, _, _, _>(),
    Format::blocks::<iq2_xs::Iq2Xs, _, _, _>(),
    Format::blocks::<iq2_s::Iq2S, _, _, _>(),
    Format::blocks::<iq3_xxs::Iq3Xxs, _, _, _>(),
    Format::blocks::<iq3_s::Iq3S, _, _, _>(),
    Format::blocks::<iq4_nl::Iq4Nl, _, _, _>(),
    Format::blocks::<iq4_xs::Iq4Xs, _, _, _>(),
    Format::blocks::<tq1_0::Tq1, _, _, _>(),
    Format::blocks::<tq2_0::Tq2, _, _, _>(),
    Format::blocks::<mxfp4::Mxfp4, _, _, _>(),
    Format::blocks::<nvfp4::Nvfp4, _, _, _>(),
    Format::blocks::<q1_0::Q1_0, _, _, _>(),
    Format::blocks::<q2_0::Q2_0, _, _, _>(),
];

/// A type that we can compute with.
#[derive(Debug)]
pub struct Format {
    /// Which one.
    pub ggml_type: GgmlType,
    pub(crate) kind: Kind,
    encode: fn(Isa, Row<'_>),
}

/// How a format is decoded.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Weights are floats: decodes a row.
    Floats(fn(Isa, &[u8], &mut [f32])),
    /// Weights are scaled integers.
    Blocks(Unpack),
}

/// How a block format becomes integers.
#[derive(Debug)]
pub(crate) struct Unpack {
    /// Unpacks a row into superblocks, in the order of the weights; minimums without the offset's part.
    pub(crate) row: fn(Isa, &[u8], &mut [Superblock]),
    /// The byte that stands for zero.
    pub(crate) offset: u8,
    /// The largest byte it writes.
    pub(crate) max_q: u8,
}

/// A type that we cannot compute with.
#[derive(Debug, thiserror::Error)]
#[error("tensor type {found} is not supported; supported are {}", supported_names())]
pub struct UnsupportedType {
    /// The type.
    pub found: GgmlType,
}

fn supported_names() -> String {
    REGISTRY.iter().map(|f| f.ggml_type.name()).collect::<Vec<_>>().join(", ")
}

impl Format {
    /// The format of a type.
    ///
    /// # Errors
    /// [`UnsupportedType`] when there is none.
    pub fn of(ggml_type: GgmlType) -> Result<&'static Self, UnsupportedType> {
        REGISTRY.iter().find(|f| f.ggml_type == ggml_type).ok_or(UnsupportedType { found: ggml_type })
    }

    /// Every format.
    #[must_use]
    pub fn all() -> &'static [Self] {
        REGISTRY
    }

    /// Bytes of a row of `num_cols` weights.
    ///
    /// # Panics
    /// When blocks do not divide the row; [`GgmlType::row_bytes`] tells before.
    #[must_use]
    pub fn row_bytes(&self, num_cols: usize) -> usize {
        let len = self.ggml_type.block_len();
        assert!(num_cols.is_multiple_of(len), "a row of {num_cols} weights in {} blocks of {len}", self.ggml_type);
        num_cols / len * self.ggml_type.block_bytes()
    }

    /// Decodes a row to floats, bit for bit as the format defines it.
    ///
    /// # Panics
    /// When `bytes` is not exactly the row of `out.len()` weights.
    pub fn decode_row(&self, isa: Isa, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(bytes.len(), self.row_bytes(out.len()), "bytes of a row of {} weights", out.len());
        match &self.kind {
            Kind::Floats(decode_row) => decode_row(isa, bytes, out),
            Kind::Blocks(unpack) => unpack.decode_row(isa, bytes, (self.row_bytes(SUPERBLOCK_LEN), out)),
        }
    }

    /// Encodes a row. `importance`, one number for each column, is what a squared error of its weights costs; without it all
    /// cost alike. The same bytes on every instruction set.
    ///
    /// # Panics
    /// When `out` is not exactly the row of `x.len()` weights, or the importance has other columns.
    pub fn encode_row(&self, isa: Isa, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        assert_eq!(out.len(), self.row_bytes(x.len()), "bytes of a row of {} weights", x.len());
        assert!(importance.is_none_or(|w| w.len() == x.len()), "importance of a row of {} weights", x.len());
        (self.encode)(isa, Row { x, importance, out });
    }

    const fn floats(ggml_type: GgmlType, decode_row: fn(Isa, &[u8], &mut [f32]), encode: fn(Isa, Row<'_>)) -> Self {
        Self { ggml_type, kind: Kind::Floats(decode_row), encode }
    }

    const fn blocks<F, const LEN: usize, const GROUPS: usize, const BYTES: usize>() -> Self
    where
        F: BlockFormat<LEN, GROUPS, BYTES> + EncodeBlock<LEN, BYTES>,
    {
        let unpack = Unpack {
            row: |isa, bytes, out| {
                isa.run(UnpackRow::<Blocks<F, LEN, GROUPS, BYTES>> { bytes, out, format: PhantomData });
            },
            offset: F::OFFSET,
            max_q: F::MAX_Q,
        };
        let encode = |isa: Isa, row: Row<'_>| {
            isa.run(EncodeRow::<Blocks<F, LEN, GROUPS, BYTES>> { row, format: PhantomData });
        };
        Self { ggml_type: F::TYPE, kind: Kind::Blocks(unpack), encode }
    }
}

impl Unpack {
    /// Decodes superblock by superblock, each from `superblock_bytes`.
    fn decode_row(&self, isa: Isa, bytes: &[u8], (superblock_bytes, out): (usize, &mut [f32])) {
        let mut block = Superblock::ZERO;
        for (bytes, out) in bytes.chunks(superblock_bytes).zip(out.chunks_mut(SUPERBLOCK_LEN)) {
            (self.row)(isa, bytes, std::slice::from_mut(&mut block));
            isa.run(Decode { block: &block, offset: self.offset, out });
        }
    }
}
