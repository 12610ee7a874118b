//! `Q5_1`: 32 weights `d * q + m`. Block: `d` and `m` f16, 32 fifth bits, 16 bytes with the low nibbles of weights `i`
//! and `i + 16`.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q5_1;

impl BlockFormat<32, 2, 24> for Q5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 24], q: &mut [u8; 32], scales: &mut [f32; 2], mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        *mins = [-read_f16(block, 2); 2];
        let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        for i in 0..16 {
            q[i] = block[8 + i] & 15 | (high >> i << 4) as u8 & 16;
            q[i + 16] = block[8 + i] >> 4 | (high >> (i + 16) << 4) as u8 & 16;
        }
    }
}
