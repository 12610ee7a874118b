//! `Q5_0`: 32 weights `d * (q - 16)`. Block: `d` f16, 32 fifth bits, 16 bytes with the low nibbles of weights `i` and
//! `i + 16`.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q5_0;

impl BlockFormat<32, 2, 22> for Q5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const OFFSET: u8 = 16;
    const MAX_Q: u8 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 22], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        for i in 0..16 {
            q[i] = block[6 + i] & 15 | (high >> i << 4) as u8 & 16;
            q[i + 16] = block[6 + i] >> 4 | (high >> (i + 16) << 4) as u8 & 16;
        }
    }
}
