//! `Q2_K`: 256 weights `d * scale * q - dmin * min` in groups of 16. Block: 16 bytes with scale (low nibble) and
//! minimum (high), 64 bytes of 2-bit weights, `d` and `dmin` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q2K;

impl BlockFormat<256, 16, 84> for Q2K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 3;

    #[inline(always)]
    fn unpack(block: &[u8; 84], q: &mut [u8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
        let (d, dmin) = (read_f16(block, 80), read_f16(block, 82));
        for i in 0..16 {
            scales[i] = d * f32::from(block[i] & 15);
            mins[i] = dmin * f32::from(block[i] >> 4);
        }
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    q[128 * half + 32 * j + l] = block[16 + 32 * half + l] >> (2 * j) & 3;
                }
            }
        }
    }
}
