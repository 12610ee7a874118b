//! `TQ2_0`: 256 ternary weights `d * (q - 1)` in two bits each. Block: 64 bytes, `d` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, extreme, fit, pack_pairs},
    f32_to_f16,
    float16::read_f16,
};

pub(crate) struct Tq2;

impl BlockFormat<256, 16, 66> for Tq2 {
    const TYPE: GgmlType = GgmlType::TQ2_0;
    const OFFSET: u8 = 1;
    const MAX_Q: u8 = 3;

    #[inline(always)]
    fn unpack(block: &[u8; 66], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        *scales = [read_f16(block, 64); 16];
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    q[128 * half + 32 * j + l] = block[32 * half + l] >> (2 * j) & 3;
                }
            }
        }
    }
}

impl EncodeBlock<256, 66> for Tq2 {
    #[inline(always)]
    fn encode(x: &[f32; 256], _importance: Option<&[f32; 256]>) -> [u8; 66] {
        let (d, q) = ternary(x);
        let mut block = [0; 66];
        pack_pairs(&q, 0, block.first_chunk_mut().expect("66 bytes are more than 64"));
        block[64..].copy_from_slice(&d.to_le_bytes());
        block
    }
}

/// The scale, an f16, and ternary digits: the largest magnitude is 1.
#[inline(always)]
pub(super) fn ternary(x: &[f32; 256]) -> (u16, [u8; 256]) {
    let d = extreme(x).abs();
    let inverse = fit::inverse(d);
    (f32_to_f16(d), x.map(|x| ((x * inverse).round() + 1.0) as u8))
}
