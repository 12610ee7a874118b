//! `MXFP4`: 32 four-bit floats (E2M1) with one power of two as their scale. Block: the exponent (E8M0, bias 127), 16
//! bytes with weights `i` (low nibble) and `i + 16` (high). Format: OCP Microscaling Formats 1.0.

use super::iq4_nl::{OFFSET, shift};
use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{EncodeBlock, extreme, pack_nibbles},
};

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

impl EncodeBlock<32, 17> for Mxfp4 {
    #[inline(always)]
    fn encode(x: &[f32; 32], _importance: Option<&[f32; 32]>) -> [u8; 17] {
        // As the format's specification says: the exponent of the largest value less that of the largest level, 6.
        let max = extreme(x).abs();
        let exponent = ((max.to_bits() >> 23) as u8).saturating_sub(2);
        let mut block = [0; 17];
        block[0] = exponent;
        let q = x.map(|x| nearest(x, half_scale(exponent)));
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}

/// The code of the nearest value; of two as near, that of the smaller magnitude.
#[inline(always)]
pub(super) fn nearest(x: f32, half_scale: f32) -> u8 {
    const MAGNITUDES: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];
    let (mut best, mut least) = (0, f32::INFINITY);
    for (magnitude, code) in MAGNITUDES.iter().zip(0..) {
        let error = (magnitude * half_scale - x.abs()).abs();
        (best, least) = if error < least { (code, error) } else { (best, least) };
    }
    if x < 0.0 && best > 0 { best | 8 } else { best }
}
