//! `Q2_0`: 64 weights `d * (q - 1)`. Block: `d` f16, 16 bytes with two bits for each weight, the first lowest.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{
        EncodeBlock, extreme,
        fit::{self, Snap},
        weights,
    },
    f16_to_f32, f32_to_f16,
    float16::read_f16,
};

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

impl EncodeBlock<64, 18> for Q2_0 {
    #[inline(always)]
    fn encode(x: &[f32; 64], importance: Option<&[f32; 64]>) -> [u8; 18] {
        let (snap, weights) = (fit::Integers { min: -1.0, max: 2.0 }, weights(importance));
        let d = fit::scale(x, &weights, &snap, fit::around(extreme(x), -1.0, 2.0, (0.6, 1.8)));
        let d = f32_to_f16(d);
        let q = snap.snap(x, &weights, fit::inverse(f16_to_f32(d))).map(|q| (q + 1.0) as u8);
        let mut block = [0; 18];
        block[..2].copy_from_slice(&d.to_le_bytes());
        for (byte, q) in block[2..].iter_mut().zip(q.as_chunks::<4>().0) {
            *byte = q[0] | q[1] << 2 | q[2] << 4 | q[3] << 6;
        }
        block
    }
}
