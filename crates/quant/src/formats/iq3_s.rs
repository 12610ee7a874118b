//! `IQ3_S`: 256 weights `d * (2 * scale + 1) * q` in groups of 32. Block: `d` f16, the low bytes of 64 grid points of
//! four magnitudes, 8 bytes with their ninth bits, 32 bytes of signs, 4 bytes of 4-bit scales.

use std::sync::LazyLock;

use super::{
    iq2_xs::pack_nibble_pairs,
    signs::{self, MAX_Q, OFFSET},
};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit, groups, lattice::Lattice, split, weights},
    float16::read_f16,
    grids::{IQ3_S_LEVELS, expand4, iq3_s},
};

pub(crate) struct Iq3S;

static GRID: [u32; 512] = expand4(&iq3_s::POINTS, IQ3_S_LEVELS);

impl BlockFormat<256, 16, 110> for Iq3S {
    const TYPE: GgmlType = GgmlType::IQ3_S;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 110], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0);
        for (i, scale) in scales.iter_mut().enumerate() {
            let nibble = block[106 + i / 4] >> (4 * (i / 2 % 2)) & 15;
            *scale = d * (1.0 + 2.0 * f32::from(nibble));
        }
        for (i, q) in q.as_chunks_mut().0.iter_mut().enumerate() {
            let high = block[66 + i / 4] >> (2 * (i % 4));
            let point = |k: usize| usize::from(block[2 + 2 * i + k]) | usize::from(high >> k & 1) << 8;
            *q = signs::apply(signs::join(GRID[point(0)], GRID[point(1)]), block[74 + i]);
        }
    }
}

/// The codebook for encoding.
static LATTICE: LazyLock<Lattice<4>> = LazyLock::new(|| Lattice::new(&iq3_s::POINTS, 3, &IQ3_S_LEVELS.map(f32::from)));

impl EncodeBlock<256, 110> for Iq3S {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 110] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 15.0, slope: 2.0, base: 1.0 };
        let (weights, lattice) = (weights(importance), &*LATTICE);
        let (magnitudes, signs) = signs::split(x);
        let (x, weights) = (split::<256, 32, 8>(&magnitudes), split(&weights));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], lattice, fit::up_to(&x[g], (1.0, 15.0), (0.8, 1.3)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, lattice);
        let points: [usize; 64] = signs::points(lattice, &found.levels);
        let mut block = [0; 110];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (i, point) in points.into_iter().enumerate() {
            block[2 + i] = point as u8;
            block[66 + i / 8] |= (point >> 8 << (i % 8)) as u8;
        }
        block[74..106].copy_from_slice(&signs);
        pack_nibble_pairs(&found.codes, &mut block[106..]);
        block
    }
}
