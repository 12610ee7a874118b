//! `Q5_1`: 32 weights `d * q + m`. Block: `d` and `m` f16, 32 fifth bits, 16 bytes with the low nibbles of weights `i`
//! and `i + 16`.

use super::{
    q4_1::affine,
    q5_0::{add_fifth_bits, fifth_bits},
};
use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    encode::{EncodeBlock, pack_nibbles},
    float16::read_f16,
};

pub(crate) struct Q5_1;

impl BlockFormat<32, 2, 24> for Q5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 24], q: &mut [u8; 32], scales: &mut [f32; 2], mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        *mins = [-read_f16(block, 2); 2];
        unpack_nibbles(block.last_chunk::<16>().expect("the block ends with 16 bytes of nibbles"), q);
        add_fifth_bits([block[4], block[5], block[6], block[7]], q);
    }
}

impl EncodeBlock<32, 24> for Q5_1 {
    #[inline(always)]
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 24] {
        let ([d, m], q) = affine(x, importance, 31.0);
        let mut block = [0; 24];
        block[..2].copy_from_slice(&d.to_le_bytes());
        block[2..4].copy_from_slice(&m.to_le_bytes());
        block[4..8].copy_from_slice(&fifth_bits(&q));
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}
