//! `F32`: little-endian IEEE single precision.

use crate::{Isa, Kernel, encode::Row};

struct Decode<'a>(&'a [u8], &'a mut [f32]);

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, bytes) in self.1.iter_mut().zip(self.0.as_chunks().0) {
            *x = f32::from_le_bytes(*bytes);
        }
    }
}

pub(crate) fn decode(isa: Isa, bytes: &[u8], out: &mut [f32]) {
    isa.run(Decode(bytes, out));
}

struct Encode<'a>(&'a [f32], &'a mut [u8]);

impl Kernel for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, bytes) in self.0.iter().zip(self.1.as_chunks_mut().0) {
            *bytes = x.to_le_bytes();
        }
    }
}

pub(crate) fn encode(isa: Isa, row: Row<'_>) {
    isa.run(Encode(row.x, row.out));
}
