//! `Q6_K`: 256 weights `d * scale * (q - 32)` in groups of 16. Block: 128 bytes of low nibbles, 64 bytes of high bit
//! pairs, 16 signed scales, `d` f16.
//!
//! Of a half's 128 weights, byte `l` of its 64 nibble bytes holds `l` and `l + 64`, byte `l` of its 32 high bytes the
//! pairs of `l`, `l + 32`, `l + 64` and `l + 96`.

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, extreme, fit, groups, pack_nibbles, pack_pairs, split, weights},
    float16::read_f16,
};

pub(crate) struct Q6K;

impl BlockFormat<256, 16, 210> for Q6K {
    const TYPE: GgmlType = GgmlType::Q6_K;
    const OFFSET: u8 = 32;
    const MAX_Q: u8 = 63;

    #[inline(always)]
    fn unpack(block: &[u8; 210], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 208);
        for i in 0..16 {
            scales[i] = d * f32::from(block[192 + i].cast_signed());
        }
        for (half, q) in q.as_chunks_mut::<128>().0.iter_mut().enumerate() {
            let low = &block[64 * half..][..64];
            let high = &block[128 + 32 * half..][..32];
            for l in 0..32 {
                q[l] = low[l] & 15 | (high[l] & 3) << 4;
                q[l + 32] = low[l + 32] & 15 | (high[l] & 12) << 2;
                q[l + 64] = low[l] >> 4 | high[l] & 48;
                q[l + 96] = low[l + 32] >> 4 | (high[l] & 192) >> 2;
            }
        }
    }
}

impl EncodeBlock<256, 210> for Q6K {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 210] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 255.0, slope: 1.0, base: -128.0 };
        let snap = fit::Integers { min: -32.0, max: 31.0 };
        let (x, weights) = (split::<256, 16, 16>(x), split(&weights(importance)));
        let ideal = std::array::from_fn(|g| {
            fit::scale(&x[g], &weights[g], &snap, fit::around(extreme(&x[g]), -32.0, 31.0, (0.96, 1.03)))
        });
        let found = groups::scaled((&x, &weights), &ideal, CODES, &snap);
        let q: [u8; 256] = std::array::from_fn(|i| (found.levels[i / 16][i % 16] + 32.0) as u8);
        let mut block = [0; 210];
        for (q, low) in q.as_chunks::<128>().0.iter().zip(block.as_chunks_mut::<64>().0) {
            pack_nibbles(q, low);
        }
        pack_pairs(&q, 4, block[128..].first_chunk_mut().expect("210 bytes are 64 more than 128"));
        for i in 0..16 {
            // From excess 128 to two's complement.
            block[192 + i] = found.codes[i] ^ 128;
        }
        block[208..].copy_from_slice(&found.d.to_le_bytes());
        block
    }
}
