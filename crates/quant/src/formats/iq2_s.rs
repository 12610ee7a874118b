//! `IQ2_S`: 256 weights `d * (scale + 0.5) / 4 * q` in groups of 16. Block: `d` f16, the low bytes of 32 grid points of
//! eight magnitudes, 32 bytes of signs, 8 bytes with the points' high bit pairs, 8 bytes of 4-bit scales.

use super::{
    iq2_xs::unpack_scales,
    signs::{self, MAX_Q, OFFSET},
};
use crate::{
    GgmlType,
    block::BlockFormat,
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
