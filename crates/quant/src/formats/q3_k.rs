//! `Q3_K`: 256 weights `d * (scale - 32) * (q - 4)` in groups of 16. Block: 32 bytes of third bits, 64 bytes of low bit
//! pairs, 12 bytes of 6-bit scales, `d` f16.
//!
//! Byte `l` of a half's 32 holds its weights `l`, `l + 32`, `l + 64` and `l + 96`, the lowest bits first; bit
//! `4 * half + j` of byte `l` of the third bits belongs to weight `l + 32 * j` of that half.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, extreme, fit, groups, pack_pairs, split, weights},
    float16::read_f16,
};

pub(crate) struct Q3K;

impl BlockFormat<256, 16, 110> for Q3K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const OFFSET: u8 = 4;
    const MAX_Q: u8 = 7;

    #[inline(always)]
    fn unpack(block: &[u8; 110], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 108);
        for i in 0..16 {
            // Low nibbles in the first 8 bytes, high bit pairs in the last 4.
            let low = block[96 + i % 8] >> (i / 8 * 4) & 15;
            let high = block[104 + i % 4] >> (i / 4 * 2) & 3;
            scales[i] = d * (i32::from(low | high << 4) - 32) as f32;
        }
        for half in 0..2 {
            for j in 0..4 {
                for l in 0..32 {
                    let low = block[32 + 32 * half + l] >> (2 * j) & 3;
                    let high = block[l] >> (4 * half + j) & 1;
                    q[128 * half + 32 * j + l] = low | high << 2;
                }
            }
        }
    }
}

impl EncodeBlock<256, 110> for Q3K {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 110] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 63.0, slope: 1.0, base: -32.0 };
        let snap = fit::Integers { min: -4.0, max: 3.0 };
        let (x, weights) = (split::<256, 16, 16>(x), split(&weights(importance)));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], &snap, fit::around(extreme(&x[g]), -4.0, 3.0, (0.75, 1.3)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, &snap);
        let q: [u8; 256] = std::array::from_fn(|i| (found.levels[i / 16][i % 16] + 4.0) as u8);
        let mut block = [0; 110];
        for l in 0..32 {
            block[l] = (0..8).fold(0, |bits, j| bits | (q[32 * j + l] >> 2) << j);
        }
        pack_pairs(&q, 0, block[32..].first_chunk_mut().expect("110 bytes are 64 more than 32"));
        for (i, code) in found.codes.into_iter().enumerate() {
            block[96 + i % 8] |= (code & 15) << (i / 8 * 4);
            block[104 + i % 4] |= (code >> 4) << (i / 4 * 2);
        }
        block[108..].copy_from_slice(&found.d.to_le_bytes());
        block
    }
}
