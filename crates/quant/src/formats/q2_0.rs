//! `Q2_0`: 64 weights `d * (q - 1)`. Block: `d` f16, 16 bytes with two bits for each weight, the first lowest.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q2_0;

impl BlockFormat<64, 4, 18> for Q2_0 {
    const TYPE: GgmlType = GgmlType::Q2_0;
    const OFFSET: u8 = 1;
    const MAX_Q: u8 = 3;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u8; 64], scales: &mut [f32; 4], _mins: &mut [f32; 4]) {
        *scales = [read_f16(block, 0); 4];
        for (byte, q) in block[2..].iter().zip(q.as_chunks_mut::<4>().0) {
            *q = [0, 2, 4, 6].map(|shift| byte >> shift & 3);
        }
    }
}
