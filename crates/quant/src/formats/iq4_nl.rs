//! `IQ4_NL`: 32 weights `d * VALUES[q]`. Block: `d` f16, 16 bytes with weights `i` (low nibble) and `i + 16` (high).

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{
        EncodeBlock, extreme,
        fit::{self, Snap},
        pack_nibbles, weights,
    },
    f16_to_f32, f32_to_f16,
    float16::read_f16,
};

pub(crate) struct Iq4Nl;

/// The sixteen values of the 4-bit `IQ` formats, shifted by [`OFFSET`].
pub(super) const VALUES: [u8; 16] = shift([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);
/// The byte that stands for zero in [`VALUES`].
pub(super) const OFFSET: u8 = 128;

/// Adds 128 to signed values.
pub(super) const fn shift(values: [i8; 16]) -> [u8; 16] {
    let mut shifted = [0; 16];
    let mut i = 0;
    while i < 16 {
        shifted[i] = values[i].cast_unsigned() ^ 128;
        i += 1;
    }
    shifted
}

impl BlockFormat<32, 2, 18> for Iq4Nl {
    const TYPE: GgmlType = GgmlType::IQ4_NL;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = 255;

    #[inline(always)]
    fn unpack(block: &[u8; 18], q: &mut [u8; 32], scales: &mut [f32; 2], _mins: &mut [f32; 2]) {
        *scales = [read_f16(block, 0); 2];
        for i in 0..16 {
            q[i] = VALUES[usize::from(block[2 + i] & 15)];
            q[i + 16] = VALUES[usize::from(block[2 + i] >> 4)];
        }
    }
}

impl EncodeBlock<32, 18> for Iq4Nl {
    #[inline(always)]
    fn encode(x: &[f32; 32], importance: Option<&[f32; 32]>) -> [u8; 18] {
        let (snap, weights) = (levels(), weights(importance));
        let d = f32_to_f16(fit_scale(x, &weights));
        let q = snap.snap(x, &weights, fit::inverse(f16_to_f32(d))).map(code);
        let mut block = [0; 18];
        block[..2].copy_from_slice(&d.to_le_bytes());
        pack_nibbles(&q, block.last_chunk_mut::<16>().expect("the block ends with 16 bytes of nibbles"));
        block
    }
}

/// [`VALUES`] as levels.
#[inline(always)]
pub(super) fn levels() -> fit::Table {
    fit::Table(VALUES.map(|v| f32::from(v) - f32::from(OFFSET)))
}

/// The best scale of a group of 32.
#[inline(always)]
pub(super) fn fit_scale(x: &[f32; 32], weights: &[f32; 32]) -> f32 {
    fit::scale(x, weights, &levels(), fit::around(extreme(x), -127.0, 113.0, (0.85, 1.15)))
}

/// The number of a level.
#[inline(always)]
pub(super) fn code(level: f32) -> u8 {
    let value = (level + f32::from(OFFSET)) as u8;
    VALUES.iter().map(|v| u8::from(*v < value)).sum()
}
