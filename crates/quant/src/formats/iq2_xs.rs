//! `IQ2_XS`: 256 weights `d * (scale + 0.5) / 4 * q` in groups of 16. Block: `d` f16, 32 times 16 bits with a grid point
//! of eight magnitudes (9 bits) and its sign field (7 bits), 8 bytes of 4-bit scales.

use super::signs::{self, MAX_Q, OFFSET};
use crate::{
    GgmlType,
    block::BlockFormat,
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
