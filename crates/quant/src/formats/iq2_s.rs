//! `IQ2_S`: 256 weights `d * (scale + 0.5) / 4 * q` in groups of 16. Block: `d` f16, the low bytes of 32 grid points of
//! eight magnitudes, 32 bytes of signs, 8 bytes with the points' high bit pairs, 8 bytes of 4-bit scales.

use std::sync::LazyLock;

use super::{
    iq2_xs::{pack_nibble_pairs, unpack_scales},
    signs::{self, MAX_Q, OFFSET},
};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit, groups, lattice::Lattice, split, weights},
    float16::read_f16,
    grids::{IQ2_LEVELS, expand8, iq2_s},
};

pub(crate) struct Iq2S;

static GRID: [u64; 1024] = expand8(&iq2_s::POINTS, IQ2_LEVELS);

impl BlockFormat<256, 16, 82> for Iq2S {
    const TYPE: GgmlType = GgmlType::IQ2_S;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 82], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        unpack_scales(read_f16(block, 0), &block[74..], scales);
        for (i, q) in q.as_chunks_mut().0.iter_mut().enumerate() {
            let high = block[66 + i / 4] >> (2 * (i % 4)) & 3;
            let point = usize::from(block[2 + i]) | usize::from(high) << 8;
            *q = signs::apply(GRID[point], block[34 + i]);
        }
    }
}

/// The codebook for encoding.
static LATTICE: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(&iq2_s::POINTS, 2, &IQ2_LEVELS.map(f32::from)));

impl EncodeBlock<256, 82> for Iq2S {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 82] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 15.0, slope: 0.25, base: 0.125 };
        let (weights, lattice) = (weights(importance), &*LATTICE);
        let (magnitudes, signs) = signs::split(x);
        let (x, weights) = (split::<256, 16, 16>(&magnitudes), split(&weights));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], lattice, fit::up_to(&x[g], (8.0, 43.0), (0.75, 1.6)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, lattice);
        let points: [usize; 32] = signs::points(lattice, &found.levels);
        let mut block = [0; 82];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for i in 0..32 {
            block[2 + i] = points[i] as u8;
            block[34 + i] = signs[i];
            block[66 + i / 4] |= (points[i] >> 8 << (2 * (i % 4))) as u8;
        }
        pack_nibble_pairs(&found.codes, &mut block[74..]);
        block
    }
}
