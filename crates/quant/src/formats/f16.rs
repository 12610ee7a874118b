//! `F16`: little-endian IEEE half precision.

use crate::{Isa, Kernel, f16_to_f32};

struct Decode<'a>(&'a [u8], &'a mut [f32]);

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, bytes) in self.1.iter_mut().zip(self.0.as_chunks().0) {
            *x = f16_to_f32(u16::from_le_bytes(*bytes));
        }
    }
}

pub(crate) fn decode(isa: Isa, bytes: &[u8], out: &mut [f32]) {
    isa.run(Decode(bytes, out));
}
