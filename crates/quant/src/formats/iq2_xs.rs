//! `IQ2_XS`: 256 weights `d * (scale + 0.5) / 4 * q` in groups of 16. Block: `d` f16, 32 times 16 bits with a grid point
//! of eight magnitudes (9 bits) and its sign field (7 bits), 8 bytes of 4-bit scales.

use std::sync::LazyLock;

use super::signs::{self, MAX_Q, OFFSET};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit, groups, lattice::Lattice, split, weights},
    float16::read_f16,
    grids::{IQ2_LEVELS, expand8, iq2_xs},
};

pub(crate) struct Iq2Xs;

static GRID: [u64; 512] = expand8(&iq2_xs::POINTS, IQ2_LEVELS);

/// Scales of `IQ2_XS` and `IQ2_S`: nibbles, the low one first.
#[inline(always)]
pub(super) fn unpack_scales(d: f32, nibbles: &[u8], scales: &mut [f32; 16]) {
    for (i, scale) in scales.iter_mut().enumerate() {
        *scale = d * (0.5 + f32::from(nibbles[i / 2] >> (4 * (i % 2)) & 15)) * 0.25;
    }
}

impl BlockFormat<256, 16, 74> for Iq2Xs {
    const TYPE: GgmlType = GgmlType::IQ2_XS;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 74], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        unpack_scales(read_f16(block, 0), &block[66..], scales);
        for (bytes, q) in block[2..66].as_chunks().0.iter().zip(q.as_chunks_mut().0) {
            let word = u16::from_le_bytes(*bytes);
            *q = signs::apply(GRID[usize::from(word & 511)], signs::even((word >> 9) as u8));
        }
    }
}

/// The codebook for encoding.
static LATTICE: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(&iq2_xs::POINTS, 2, &IQ2_LEVELS.map(f32::from)));

impl EncodeBlock<256, 74> for Iq2Xs {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 74] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 15.0, slope: 0.25, base: 0.125 };
        let (weights, lattice) = (weights(importance), &*LATTICE);
        let (magnitudes, signs) = signs::split_even(x, &weights);
        let (x, weights) = (split::<256, 16, 16>(&magnitudes), split(&weights));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], lattice, fit::up_to(&x[g], (8.0, 43.0), (0.75, 1.6)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, lattice);
        let points: [usize; 32] = signs::points(lattice, &found.levels);
        let mut block = [0; 74];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (i, bytes) in block[2..66].as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = (points[i] as u16 | u16::from(signs[i] & 127) << 9).to_le_bytes();
        }
        pack_nibble_pairs(&found.codes, &mut block[66..]);
        block
    }
}

/// Joins pairs of nibbles, the first low.
#[inline(always)]
pub(super) fn pack_nibble_pairs(codes: &[u8], bytes: &mut [u8]) {
    for (byte, pair) in bytes.iter_mut().zip(codes.as_chunks::<2>().0) {
        *byte = pair[0] | pair[1] << 4;
    }
}
