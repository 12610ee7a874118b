//! `TQ1_0`: 256 ternary weights `d * (q - 1)`, five to a byte. Block: 48 bytes of five, 4 bytes of four, `d` f16.
//!
//! A byte is a fraction of 256 in base 3: multiplying it by 3 shifts the next digit out at the top.

use super::tq2_0::ternary;
use crate::{GgmlType, block::BlockFormat, encode::EncodeBlock, float16::read_f16};

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

/// Joins digits as fractions of 256 in base 3, rounded up: digit 0 of all bytes comes first, then digit 1, ...
#[inline(always)]
fn pack_digits(q: &[u8], bytes: &mut [u8]) {
    let stride = bytes.len();
    for (i, byte) in bytes.iter_mut().enumerate() {
        let digit = |n: usize| u16::from(q.get(stride * n + i).copied().unwrap_or(0));
        let number = (0..5).fold(0, |number, n| number * 3 + digit(n));
        *byte = (number * 256).div_ceil(243) as u8;
    }
}

impl EncodeBlock<256, 54> for Tq1 {
    #[inline(always)]
    fn encode(x: &[f32; 256], _importance: Option<&[f32; 256]>) -> [u8; 54] {
        let (d, q) = ternary(x);
        let mut block = [0; 54];
        pack_digits(&q[..160], &mut block[..32]);
        pack_digits(&q[160..240], &mut block[32..48]);
        pack_digits(&q[240..], &mut block[48..52]);
        block[52..].copy_from_slice(&d.to_le_bytes());
        block
    }
}
