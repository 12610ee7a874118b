//! `Q3_K`: 256 weights `d * (scale - 32) * (q - 4)` in groups of 16. Block: 32 bytes of third bits, 64 bytes of low bit
//! pairs, 12 bytes of 6-bit scales, `d` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first; bit
//! `4 * half + j` of byte `l` of the third bits belongs to weight `l + 32 * j` of that half.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q3K;

impl BlockFormat<256, 16, 110> for Q3K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const OFFSET: u8 = 4;
    const MAX_Q: u8 = 7;

    #[inline(always)]
    fn unpack(block: &[u8; 110], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 108);
        for i in 0..16 {
            // Low nibbles in the first 8 bytes, high bit pairs in the last 4.
            let low = block[96 + i % 8] >> (i / 8 * 4) & 15;
            let high = block[104 + i % 4] >> (i / 4 * 2) & 3;
            scales[i] = d * (i32::from(low | high << 4) - 32) as f32;
        }
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    let low = block[32 + 32 * half + l] >> (2 * j) & 3;
                    let high = block[l] >> (4 * half + j) & 1;
                    q[128 * half + 32 * j + l] = low | high << 2;
                }
            }
        }
    }
}
