//! `IQ1_M`: 256 weights `d * (2 * scale + 1) * (q + delta)` in groups of 16, as `IQ1_S` but with a delta for every eight.
//! Block: the low bytes of 32 grid points, 16 bytes with nibbles of their high 3 bits and the sign of delta, four times
//! 16 bits with four 3-bit scales and above them a nibble of `d` f16, the lowest first.

use super::iq1_s::{CODES, MAX_Q, OFFSET, Shifted, fit_scale, points, unpack_point};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, groups, split, weights},
    f16_to_f32,
};

pub(crate) struct Iq1M;

impl BlockFormat<256, 16, 56> for Iq1M {
    const TYPE: GgmlType = GgmlType::IQ1_M;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 56], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let words = [0, 1, 2, 3].map(|i| u16::from_le_bytes([block[48 + 2 * i], block[49 + 2 * i]]));
        let d = words.iter().rev().fold(0, |d, word| d << 4 | word >> 12);
        let d = f16_to_f32(d) / 8.0;
        for (i, scale) in scales.iter_mut().enumerate() {
            *scale = d * f32::from(2 * (words[i / 4] >> (3 * (i % 4)) & 7) + 1);
        }
        for (i, q) in q.as_chunks_mut().0.iter_mut().enumerate() {
            let nibble = block[32 + i / 2] >> (4 * (i % 2)) & 15;
            let point = usize::from(block[i]) | usize::from(nibble & 7) << 8;
            *q = unpack_point(point, nibble >> 3 == 1);
        }
    }
}

impl EncodeBlock<256, 56> for Iq1M {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 56] {
        let snap = Shifted::<8>;
        let (x, weights) = (split::<256, 16, 16>(x), split(&weights(importance)));
        let ideal = std::array::from_fn(|g| fit_scale(&x[g], &weights[g], &snap));
        let found = groups::scaled((&x, &weights), &ideal, CODES, &snap);
        let mut block = [0; 56];
        for (i, (point, negative)) in points(found.levels.as_flattened()).into_iter().enumerate() {
            block[i] = point as u8;
            block[32 + i / 2] |= ((point >> 8) as u8 | u8::from(negative) << 3) << (4 * (i % 2));
        }
        for (i, codes) in found.codes.as_chunks::<4>().0.iter().enumerate() {
            let d = found.d >> (4 * i) & 15;
            let word = codes.iter().rev().fold(d, |word, code| word << 3 | u16::from(*code));
            block[48 + 2 * i..][..2].copy_from_slice(&word.to_le_bytes());
        }
        block
    }
}
