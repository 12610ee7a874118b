//! `Q4_1`: 32 weights `d * q + m`. Block: `d` and `m` f16, 16 bytes with weights `i` (low nibble) and `i + 16` (high).

use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    float16::read_f16,
};

pub(crate) struct Q4_1;

impl BlockFormat<32, 2, 20> for Q4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 15;

    #[inline(always)]
    fn unpack(block: &[u8; 20], q: &mut [u8; 32], scales: &mut [f32; 2], mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        *mins = [-read_f16(block, 2); 2];
        unpack_nibbles(block.last_chunk::<16>().expect("the block ends with 16 bytes of nibbles"), q);
    }
}
