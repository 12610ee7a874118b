//! `Q5_K`: `Q4_K` with a fifth bit. Block: `d` and `dmin` f16, 12 bytes of scales and minimums, 32 bytes of fifth bits,
//! 128 bytes of nibbles. Bit `g` of byte `l` of the fifth bits belongs to weight `l` of group `g`.

use super::q4_k::{encode_groups, unpack_scales};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit::AffineSearch, pack_nibbles},
};

pub(crate) struct Q5K;

impl BlockFormat<256, 16, 176> for Q5K {
    const TYPE: GgmlType = GgmlType::Q5_K;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 31;

    #[inline(always)]
    fn unpack(block: &[u8; 176], q: &mut [u8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
        let (head, rest) = block.split_first_chunk().expect("176 bytes are more than 16");
        let (high, nibbles) = rest.split_first_chunk::<32>().expect("160 bytes are more than 32");
        unpack_scales(head, scales, mins);
        let chunks = q.as_chunks_mut::<64>().0.iter_mut().zip(nibbles.as_chunks::<32>().0);
        for (chunk_idx, (q, bytes)) in chunks.enumerate() {
            for l in 0..32 {
                let bits = high[l] >> (2 * chunk_idx);
                q[l] = bytes[l] & 15 | (bits & 1) << 4;
                q[l + 32] = bytes[l] >> 4 | (bits & 2) << 3;
            }
        }
    }
}

impl EncodeBlock<256, 176> for Q5K {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 176] {
        let search = AffineSearch { max_q: 31.0, overshoot: 1.0, undershoot: 0.8, no_positive_offset: true };
        let (head, q) = encode_groups(x, importance, &search);
        let mut block = [0; 176];
        block[..16].copy_from_slice(&head);
        for l in 0..32 {
            block[16 + l] = (0..8).fold(0, |bits, group| bits | (q[32 * group + l] >> 4) << group);
        }
        for (q, bytes) in q.as_chunks::<64>().0.iter().zip(block[48..].as_chunks_mut::<32>().0) {
            pack_nibbles(q, bytes);
        }
        block
    }
}
