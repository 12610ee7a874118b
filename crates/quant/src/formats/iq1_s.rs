//! `IQ1_S`: 256 weights `d * (2 * scale + 1) * (q + delta)` in groups of 32, with `q` of -1, 0, 1 from a grid of eight
//! and a `delta` of 1/8 or -1/8. Block: `d` f16, the low bytes of 32 grid points, then 16 bits per group: the points'
//! high 3 bits, a 3-bit scale, the sign of delta.

use crate::{
    GgmlType,
    block::BlockFormat,
    float16::read_f16,
    grids::{expand8, iq1},
};

pub(crate) struct Iq1S;

/// The byte that stands for zero, in eighths: weights are -9..9 of them.
pub(super) const OFFSET: u8 = 9;
/// The largest byte that [`unpack_point`] writes.
pub(super) const MAX_Q: u8 = 18;

/// A point's weights in eighths, shifted up by 8.
static GRID: [u64; 2048] = expand8(&iq1::POINTS, [0, 8, 16]);

/// The eight weights of a point in eighths, shifted by [`OFFSET`].
#[inline(always)]
pub(super) fn unpack_point(point: usize, negative_delta: bool) -> [u8; 8] {
    // Of the offset 9, the grid has 8; delta is 1 or -1.
    let delta = if negative_delta { 0 } else { 0x0202_0202_0202_0202 };
    (GRID[point] + delta).to_le_bytes()
}

impl BlockFormat<256, 16, 50> for Iq1S {
    const TYPE: GgmlType = GgmlType::IQ1_S;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 50], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0) / 8.0;
        for (group, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let high = u16::from_le_bytes([block[34 + 2 * group], block[35 + 2 * group]]);
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            [scales[2 * group], scales[2 * group + 1]] = [scale; 2];
            for (k, q) in q.as_chunks_mut().0.iter_mut().enumerate() {
                let point = usize::from(block[2 + 4 * group + k]) | usize::from(high >> (3 * k) & 7) << 8;
                *q = unpack_point(point, high >> 15 == 1);
            }
        }
    }
}
