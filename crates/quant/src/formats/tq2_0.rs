//! `TQ2_0`: 256 ternary weights `d * (q - 1)` in two bits each. Block: 64 bytes, `d` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Tq2;

impl BlockFormat<256, 16, 66> for Tq2 {
    const TYPE: GgmlType = GgmlType::TQ2_0;
    const OFFSET: u8 = 1;
    const MAX_Q: u8 = 3;

    #[inline(always)]
    fn unpack(block: &[u8; 66], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        *scales = [read_f16(block, 64); 16];
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    q[128 * half + 32 * j + l] = block[32 * half + l] >> (2 * j) & 3;
                }
            }
        }
    }
}
