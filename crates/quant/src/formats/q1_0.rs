//! `Q1_0`: 128 weights `d` or `-d`. Block: `d` f16, 16 bytes with a bit for each weight, the lowest first: 1 is `d`.

use super::q5_0::spread_bits;
use crate::{GgmlType, block::BlockFormat, encode::EncodeBlock, f32_to_f16, float16::read_f16};

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

impl EncodeBlock<128, 18> for Q1_0 {
    #[inline(always)]
    fn encode(x: &[f32; 128], _importance: Option<&[f32; 128]>) -> [u8; 18] {
        let d = x.iter().map(|x| x.abs()).sum::<f32>() / 128.0;
        let mut block = [0; 18];
        block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
        for (bits, x) in block[2..].iter_mut().zip(x.as_chunks::<8>().0) {
            *bits = x.iter().rev().fold(0, |bits, x| bits << 1 | u8::from(*x >= 0.0));
        }
        block
    }
}
