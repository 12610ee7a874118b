//! `IQ4_XS`: 256 weights `d * (scale - 32) * VALUES[q]` in groups of 32. Block: `d` f16, 16 bits with the scales' high
//! bit pairs, 4 bytes with their low nibbles, 128 bytes of nibbles, laid out by group as in `IQ4_NL`.

use super::iq4_nl::{OFFSET, VALUES, code, fit_scale, levels};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, groups, pack_nibbles, split, weights},
    float16::read_f16,
};

pub(crate) struct Iq4Xs;

impl BlockFormat<256, 16, 136> for Iq4Xs {
    const TYPE: GgmlType = GgmlType::IQ4_XS;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = 255;

    #[inline(always)]
    fn unpack(block: &[u8; 136], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0);
        let high = u16::from_le_bytes([block[2], block[3]]);
        for group in 0..8 {
            let low = block[4 + group / 2] >> (group % 2 * 4) & 15;
            let scale = i32::from(low) | i32::from(high >> (2 * group) & 3) << 4;
            scales[2 * group] = d * (scale - 32) as f32;
            scales[2 * group + 1] = scales[2 * group];
            for i in 0..16 {
                let byte = block[8 + 16 * group + i];
                q[32 * group + i] = VALUES[usize::from(byte & 15)];
                q[32 * group + i + 16] = VALUES[usize::from(byte >> 4)];
            }
        }
    }
}

impl EncodeBlock<256, 136> for Iq4Xs {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 136] {
        const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 63.0, slope: 1.0, base: -32.0 };
        let (x, weights) = (split::<256, 32, 8>(x), split(&weights(importance)));
        let ideal = std::array::from_fn(|g| fit_scale(&x[g], &weights[g]));
        let found = groups::scaled((&x, &weights), &ideal, CODES, &levels());
        let mut block = [0; 136];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (group, scale) in found.codes.into_iter().enumerate() {
            block[2 + group / 4] |= (scale >> 4) << (2 * (group % 4));
            block[4 + group / 2] |= (scale & 15) << (group % 2 * 4);
        }
        for (levels, bytes) in found.levels.iter().zip(block[8..].as_chunks_mut::<16>().0) {
            pack_nibbles(&levels.map(code), bytes);
        }
        block
    }
}
