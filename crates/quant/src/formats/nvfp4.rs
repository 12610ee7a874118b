//! `NVFP4`: 64 four-bit floats (E2M1) in groups of 16 with a small float (unsigned E4M3) as their scale. Block: four
//! scales, then 8 bytes per group with weights `i` (low nibble) and `i + 8` (high).

use super::{
    iq4_nl::OFFSET,
    mxfp4::{VALUES, nearest},
};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, extreme, pack_nibbles, split, weights},
};

pub(crate) struct Nvfp4;

/// Half the scale, since the values are doubled. The encodings of zero and NaN both mean zero.
#[inline(always)]
fn half_scale(bits: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(bits >> 3 & 15), f32::from(bits & 7));
    let subnormal = mantissa * f32::from_bits((127 - 10) << 23);
    let normal = (1.0 + mantissa / 8.0) * f32::from_bits((exponent + 127 - 8) << 23);
    if bits & 0x7f == 0x7f {
        0.0
    } else if exponent == 0 {
        subnormal
    } else {
        normal
    }
}

impl BlockFormat<64, 4, 36> for Nvfp4 {
    const TYPE: GgmlType = GgmlType::NVFP4;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = 255;

    #[inline(always)]
    fn unpack(block: &[u8; 36], q: &mut [u8; 64], scales: &mut [f32; 4], _mins: &mut [f32; 4]) {
        for group in 0..4 {
            scales[group] = half_scale(block[group]);
            for i in 0..8 {
                let byte = block[4 + 8 * group + i];
                q[16 * group + i] = VALUES[usize::from(byte & 15)];
                q[16 * group + i + 8] = VALUES[usize::from(byte >> 4)];
            }
        }
    }
}

impl EncodeBlock<64, 36> for Nvfp4 {
    #[inline(always)]
    fn encode(x: &[f32; 64], importance: Option<&[f32; 64]>) -> [u8; 36] {
        let (x, weights) = (split::<64, 16, 4>(x), split::<64, 16, 4>(&weights(importance)));
        let mut block = [0; 36];
        for group in 0..4 {
            let (scale, codes) = encode_group(&x[group], &weights[group]);
            block[group] = scale;
            pack_nibbles::<8>(&codes, block[4 + 8 * group..].first_chunk_mut().expect("8 bytes per group"));
        }
        block
    }
}

/// The scale with the least error, among those around the one that makes the largest value a 6, and the codes.
#[inline(always)]
fn encode_group(x: &[f32; 16], weights: &[f32; 16]) -> (u8, [u8; 16]) {
    const LARGEST: u8 = 0x7e;
    let max = extreme(x).abs();
    let fitting = (0..LARGEST).take_while(|bits| 12.0 * half_scale(*bits) < max).count() as u8;
    let mut best = (f32::INFINITY, 0, [0; 16]);
    for bits in fitting.saturating_sub(3)..=(fitting + 1).min(LARGEST) {
        let codes = x.map(|x| nearest(x, half_scale(bits)));
        let value = |code: u8| half_scale(bits) * (f32::from(VALUES[usize::from(code)]) - f32::from(OFFSET));
        let errors: [f32; 16] = std::array::from_fn(|i| weights[i] * (value(codes[i]) - x[i]).powi(2));
        let error = errors.iter().sum();
        if error < best.0 {
            best = (error, bits, codes);
        }
    }
    (best.1, best.2)
}
