//! `IQ3_S`: 256 weights `d * (2 * scale + 1) * q` in groups of 32. Block: `d` f16, the low bytes of 64 grid points of
//! four magnitudes, 8 bytes with their ninth bits, 32 bytes of signs, 4 bytes of 4-bit scales.

use super::signs::{self, MAX_Q, OFFSET};
use crate::{
    GgmlType,
    block::BlockFormat,
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
