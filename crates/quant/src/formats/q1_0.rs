//! `Q1_0`: 128 weights `d` or `-d`. Block: `d` f16, 16 bytes with a bit for each weight, the lowest first: 1 is `d`.

use super::q5_0::spread_bits;
use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Q1_0;

impl BlockFormat<128, 8, 18> for Q1_0 {
    const TYPE: GgmlType = GgmlType::Q1_0;
    const OFFSET: u8 = 1;
    const MAX_Q: u8 = 2;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u8; 128], scales: &mut [f32; 8], _mins: &mut [f32; 8]) {
        *scales = [read_f16(block, 0); 8];
        for (&bits, q) in block[2..].iter().zip(q.as_chunks_mut().0) {
            *q = (spread_bits(bits) >> 6).to_le_bytes();
        }
    }
}
