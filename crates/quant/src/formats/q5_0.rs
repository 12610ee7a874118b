//! `Q5_0`: 32 weights `d * (q - 16)`. Block: `d` f16, 32 fifth bits, 16 bytes with the low nibbles of weights `i` and
//! `i + 16`.

use super::q4_0::symmetric;
use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    encode::{EncodeBlock, pack_nibbles},
    float16::read_f16,
};

pub(crate) struct Q5_0;

impl BlockFormat<32, 2, 22> for Q5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const OFFSET: u8 = 16;
    const MAX_Q: u8 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 22], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        unpack_nibbles(block.last_chunk::<16>().expect("the block ends with 16 bytes of nibbles"), q);
        add_fifth_bits([block[2], block[3], block[4], block[5]], q);
    }
}

/// Sets bit 4 of byte `i` to bit `i` of the 32.
#[inline(always)]
pub(super) fn add_fifth_bits(bits: [u8; 4], q: &mut [u8; 32]) {
    for (q, bits) in q.as_chunks_mut().0.iter_mut().zip(bits) {
        *q = (u64::from_le_bytes(*q) | spread_bits(bits) >> 3).to_le_bytes();
    }
}

/// Bit `i` of eight becomes the highest bit of byte `i`.
#[inline(always)]
pub(super) fn spread_bits(bits: u8) -> u64 {
    const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;
    // Byte `i` keeps bit `i` alone; adding 127 carries it, wherever it is, to the top of its byte.
    let own_bit = (u64::from(bits) * EVERY_BYTE) & 0x8040_2010_0804_0201;
    (own_bit + 127 * EVERY_BYTE) & (128 * EVERY_BYTE)
}

impl EncodeBlock<32, 22> for Q5_0 {
    #[inline(always)]
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 22] {
        let (d, q) = symmetric(x, importance, 16.0);
        let mut block = [0; 22];
        block[..2].copy_from_slice(&d.to_le_bytes());
        block[2..6].copy_from_slice(&fifth_bits(&q));
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}

/// Bit 4 of every byte.
#[inline(always)]
pub(super) fn fifth_bits(q: &[u8; 32]) -> [u8; 4] {
    q.iter().rev().fold(0_u32, |bits, q| bits << 1 | u32::from(q >> 4 & 1)).to_le_bytes()
}
