//! `MXFP4`: 32 four-bit floats (E2M1) with one power of two as their scale. Block: the exponent (E8M0, bias 127), 16
//! bytes with weights `i` (low nibble) and `i + 16` (high). Format: OCP Microscaling Formats 1.0.

use super::iq4_nl::{OFFSET, shift};
use crate::{GgmlType, block::BlockFormat};

pub(crate) struct Mxfp4;

/// The values of E2M1, doubled to be integers, shifted by [`OFFSET`].
pub(super) const VALUES: [u8; 16] = shift([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]);

/// `2^(exponent - 128)`: half the scale, since the values are doubled.
#[inline(always)]
fn half_scale(exponent: u8) -> f32 {
    let subnormal = 0x0020_0000 << (exponent & 1);
    let normal = u32::from(exponent).wrapping_sub(1) << 23;
    f32::from_bits(if exponent < 2 { subnormal } else { normal })
}

impl BlockFormat<32, 2, 17> for Mxfp4 {
    const TYPE: GgmlType = GgmlType::MXFP4;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = 255;

    #[inline(always)]
    fn unpack(block: &[u8; 17], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [half_scale(block[0]); 2];
        for i in 0..16 {
            q[i] = VALUES[usize::from(block[1 + i] & 15)];
            q[i + 16] = VALUES[usize::from(block[1 + i] >> 4)];
        }
    }
}
