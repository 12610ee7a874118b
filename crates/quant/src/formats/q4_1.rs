//! `Q4_1`: 32 weights `d * q + m`. Block: `d` and `m` f16, 16 bytes with weights `i` (low nibble) and `i + 16` (high).

use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    encode::{
        EncodeBlock,
        fit::{self, Affine, AffineSearch},
        pack_nibbles,
    },
    f16_to_f32, f32_to_f16,
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

impl EncodeBlock<32, 20> for Q4_1 {
    #[inline(always)]
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 20] {
        let ([d, m], q) = affine(x, importance, 15.0);
        let mut block = [0; 20];
        block[..2].copy_from_slice(&d.to_le_bytes());
        block[2..4].copy_from_slice(&m.to_le_bytes());
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}

/// The scale and minimum, as f16, and integers up to `max_q` of `d * q + m`. Without importance as other programs do it:
/// from the least value to the largest.
#[inline(always)]
pub(super) fn affine(x: &[f32; 32], importance: Option<&[f32; 32]>, max_q: f32) -> ([u16; 2], [u8; 32]) {
    let Some(weights) = importance else {
        let min = x.iter().fold(f32::MAX, |a, &b| if b < a { b } else { a });
        let max = x.iter().fold(-f32::MAX, |a, &b| if b > a { b } else { a });
        let d = (max - min) / max_q;
        let inverse = fit::inverse(d);
        return ([d, min].map(f32_to_f16), x.map(|x| (((x - min) * inverse + 0.5) as u8).min(max_q as u8)));
    };
    let search = AffineSearch { max_q, overshoot: 1.2, undershoot: 0.9, no_positive_offset: false };
    let found = search.fit(x, weights);
    let halves = [found.scale, found.offset].map(f32_to_f16);
    let [scale, offset] = halves.map(f16_to_f32);
    (halves, search.snap(x, Affine { scale, offset }).map(|q| q as u8))
}
