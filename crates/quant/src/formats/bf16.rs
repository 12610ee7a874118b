//! `BF16`: the upper half of a little-endian `f32`.

use crate::{Isa, Kernel, encode::Row};

struct Decode<'a>(&'a [u8], &'a mut [f32]);

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, bytes) in self.1.iter_mut().zip(self.0.as_chunks().0) {
            *x = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
        }
    }
}

pub(crate) fn decode(isa: Isa, bytes: &[u8], out: &mut [f32]) {
    isa.run(Decode(bytes, out));
}

/// Rounds to the nearest, ties to even; NaN stays NaN.
#[inline(always)]
fn narrow(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if x.is_nan() { bits >> 16 | 64 } else { rounded }) as u16
}

struct Encode<'a>(&'a [f32], &'a mut [u8]);

impl Kernel for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, bytes) in self.0.iter().zip(self.1.as_chunks_mut().0) {
            *bytes = narrow(*x).to_le_bytes();
        }
    }
}

pub(crate) fn encode(isa: Isa, row: Row<'_>) {
    isa.run(Encode(row.x, row.out));
}
