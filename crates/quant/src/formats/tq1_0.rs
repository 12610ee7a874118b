//! `TQ1_0`: 256 ternary weights `d * (q - 1)`, five to a byte. Block: 48 bytes of five, 4 bytes of four, `d` f16.
//!
//! A byte is a fraction of 256 in base 3: multiplying it by 3 shifts the next digit out at the top.

use crate::{GgmlType, block::BlockFormat, float16::read_f16};

pub(crate) struct Tq1;

/// Digit `n` of a byte.
#[inline(always)]
fn digit(byte: u8, n: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    ((u16::from(byte.wrapping_mul(POWERS[n])) * 3) >> 8) as u8
}

/// Digit `n` of all bytes, then digit `n + 1`, ...
#[inline(always)]
fn unpack_digits(bytes: &[u8], q: &mut [u8]) {
    for (n, q) in q.chunks_exact_mut(bytes.len()).enumerate() {
        for (q, &byte) in q.iter_mut().zip(bytes) {
            *q = digit(byte, n);
        }
    }
}

impl BlockFormat<256, 16, 54> for Tq1 {
    const TYPE: GgmlType = GgmlType::TQ1_0;
    const OFFSET: u8 = 1;
    const MAX_Q: u8 = 2;

    #[inline(always)]
    fn unpack(block: &[u8; 54], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        *scales = [read_f16(block, 52); 16];
        unpack_digits(&block[..32], &mut q[..160]);
        unpack_digits(&block[32..48], &mut q[160..240]);
        unpack_digits(&block[48..52], &mut q[240..]);
    }
}
