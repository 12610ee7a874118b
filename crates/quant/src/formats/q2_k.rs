//! `Q2_K`: 256 weights `d * scale * q - dmin * min` in groups of 16. Block: 16 bytes with scale (low nibble) and
//! minimum (high), 64 bytes of 2-bit weights, `d` and `dmin` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, fit::AffineSearch, groups, pack_pairs, split, weights},
    float16::read_f16,
};

pub(crate) struct Q2K;

impl BlockFormat<256, 16, 84> for Q2K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const OFFSET: u8 = 0;
    const MAX_Q: u8 = 3;

    #[inline(always)]
    fn unpack(block: &[u8; 84], q: &mut [u8; 256], scales: &mut [f32; 16], mins: &mut [f32; 16]) {
        let (d, dmin) = (read_f16(block, 80), read_f16(block, 82));
        for i in 0..16 {
            scales[i] = d * f32::from(block[i] & 15);
            mins[i] = dmin * f32::from(block[i] >> 4);
        }
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    q[128 * half + 32 * j + l] = block[16 + 32 * half + l] >> (2 * j) & 3;
                }
            }
        }
    }
}

impl EncodeBlock<256, 84> for Q2K {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 84] {
        let search = AffineSearch { max_q: 3.0, overshoot: 1.2, undershoot: 0.6, no_positive_offset: true };
        let found = groups::with_mins::<16, 16>((&split(x), &split(&weights(importance))), 15.0, &search);
        let mut block = [0; 84];
        for (byte, (scale, min)) in block.iter_mut().zip(found.scales.into_iter().zip(found.mins)) {
            *byte = scale | min << 4;
        }
        let q = std::array::from_fn(|i| found.q[i / 16][i % 16] as u8);
        pack_pairs(&q, 0, block[16..].first_chunk_mut().expect("84 bytes are 64 more than 16"));
        block[80..82].copy_from_slice(&found.d.to_le_bytes());
        block[82..].copy_from_slice(&found.dmin.to_le_bytes());
        block
    }
}
