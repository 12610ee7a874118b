//! `IQ4_NL`: 32 weights `d * VALUES[q]`. Block: `d` f16, 16 bytes with weights `i` (low nibble) and `i + 16` (high).

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

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
