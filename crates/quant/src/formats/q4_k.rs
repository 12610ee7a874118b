//! `Q4_K`: 256 weights `d * scale * q - dmin * min` in groups of 32. Block: `d` and `dmin` f16, 12 bytes of 6-bit
//! scales and minimums, 128 bytes of nibbles.
//!
//! Byte `l` of a chunk of 32 holds weights `l` (low nibble) and `l + 32` (high) of the 64 weights of that chunk.

use crate::{
    GgmlType,
    block::{BlockFormat, unpack_nibbles},
    encode::{EncodeBlock, fit::AffineSearch, groups, pack_nibbles, split, weights},
    float16::read_f16,
};

pub(crate) struct Q4K;

/// Scales and minimums of `Q4_K` and `Q5_K`, whose blocks start alike. The first four of each are the low six bits of
/// bytes 0-3 and 4-7; the others have their low nibbles in bytes 8-11 and their high bits atop the first four.
#[inline(always)]
pub(super) fn unpack_scales(head: &[u8; 16], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    let (d, dmin) = (read_f16(head, 0), read_f16(head, 2));
    let (mut s, mut m) = ([0; 8], [0; 8]);
    for j in 0..4 {
        let (a, b, c) = (head[4 + j], head[8 + j], head[12 + j]);
        (s[j], m[j]) = (a & 63, b & 63);
        (s[j + 4], m[j + 4]) = (c & 15 | a >> 6 << 4, c >> 4 | b >> 6 << 4);
    }
    for i in 0..16 {
        scales[i] = d * f32::from(s[i / 2]);
        mins[i] = dmin * f32::from(m[i / 2]);
    }
}

impl BlockFormat<256, 16, 144> for Q4K {
    const TYPE: GgmlType = GgmlType::Q4_K;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 15;

    #[inline(always)]
    fn unpack(block: &[u8; 144], q: &mut [u8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
        let (head, nibbles) = block.split_first_chunk().expect("144 bytes are more than 16");
        unpack_scales(head, scales, mins);
        for (q, bytes) in q.chunks_exact_mut(64).zip(nibbles.as_chunks::<32>().0) {
            unpack_nibbles(bytes, q);
        }
    }
}

impl EncodeBlock<256, 144> for Q4K {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 144] {
        let search = AffineSearch { max_q: 15.0, overshoot: 1.2, undershoot: 0.9, no_positive_offset: true };
        let (head, q) = encode_groups(x, importance, &search);
        let mut block = [0; 144];
        block[..16].copy_from_slice(&head);
        for (q, bytes) in q.as_chunks::<64>().0.iter().zip(block[16..].as_chunks_mut::<32>().0) {
            pack_nibbles(q, bytes);
        }
        block
    }
}

/// The first 16 bytes and the integers of `Q4_K` and `Q5_K`.
#[inline(always)]
pub(super) fn encode_groups(
    x: &[f32; 256],
    importance: Option<&[f32; 256]>,
    search: &AffineSearch,
) -> ([u8; 16], [u8; 256]) {
    let found = groups::with_mins::<32, 8>((&split(x), &split(&weights(importance))), 63.0, search);
    let mut head = [0; 16];
    head[..2].copy_from_slice(&found.d.to_le_bytes());
    head[2..4].copy_from_slice(&found.dmin.to_le_bytes());
    let (s, m) = (found.scales, found.mins);
    for j in 0..4 {
        head[4 + j] = s[j] | s[j + 4] >> 4 << 6;
        head[8 + j] = m[j] | m[j + 4] >> 4 << 6;
        head[12 + j] = s[j + 4] & 15 | m[j + 4] << 4;
    }
    (head, std::array::from_fn(|i| found.q[i / 32][i % 32] as u8))
}
