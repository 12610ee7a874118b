//! `NVFP4`: 64 four-bit floats (E2M1) in groups of 16 with a small float (unsigned E4M3) as their scale. Block: four
//! scales, then 8 bytes per group with weights `i` (low nibble) and `i + 8` (high).

use super::{iq4_nl::OFFSET, mxfp4::VALUES};
use crate::{GgmlType, block::BlockFormat};

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
