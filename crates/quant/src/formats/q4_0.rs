//! `Q4_0`: 32 weights `d * (q - 8)`. Block: `d` f16, 16 bytes with weights `i` (low nibble) and `i + 16` (high).

use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    encode::{EncodeBlock, extreme, fit, pack_nibbles},
    f16_to_f32, f32_to_f16,
    float16::read_f16,
};

pub(crate) struct Q4_0;

impl BlockFormat<32, 2, 18> for Q4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;
    const OFFSET: u8 = 8;
    const MAX_Q: u8 = 15;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        unpack_nibbles(block.last_chunk::<16>().expect("the block ends with 16 bytes of nibbles"), q);
    }
}

impl EncodeBlock<32, 18> for Q4_0 {
    #[inline(always)]
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 18] {
        let (d, q) = symmetric(x, importance, 8.0);
        let mut block = [0; 18];
        block[..2].copy_from_slice(&d.to_le_bytes());
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}

/// The scale, an f16, and integers `0..2 * half` of `d * (q - half)`. Without importance as other programs do it: the
/// extreme value becomes `-half`.
#[inline(always)]
pub(super) fn symmetric(x: &[f32; 32], importance: Option<&[f32; 32]>, half: f32) -> (u16, [u8; 32]) {
    let max = extreme(x);
    let Some(weights) = importance else {
        let d = max / -half;
        let inverse = fit::inverse(d);
        return (f32_to_f16(d), x.map(|x| ((x * inverse + (half + 0.5)) as u8).min((2.0 * half) as u8 - 1)));
    };
    let snap = fit::Integers { min: -half, max: half - 1.0 };
    let d = fit::scale(x, weights, &snap, fit::around(max, -half, half - 1.0, (0.85, 1.15)));
    let d = f32_to_f16(d);
    let q = fit::Snap::snap(&snap, x, weights, fit::inverse(f16_to_f32(d)));
    (d, q.map(|q| (q + half) as u8))
}
