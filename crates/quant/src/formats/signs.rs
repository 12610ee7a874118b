//! What the `IQ2` and `IQ3` formats share: magnitudes from a grid with signs of their own.

use super::q5_0::spread_bits;
use crate::encode::lattice::Lattice;

/// The byte that stands for zero: the largest magnitude is 62.
pub(super) const OFFSET: u8 = 64;
/// The largest byte that [`apply`] gives.
pub(super) const MAX_Q: u8 = 64 + 62;

const EVERY_BYTE: u64 = 0x0101_0101_0101_0101;

/// Eight weights, shifted by [`OFFSET`]: magnitude byte `i` is negative where bit `i` of the signs is set.
#[inline(always)]
pub(super) fn apply(magnitudes: u64, signs: u8) -> [u8; 8] {
    let negative = (spread_bits(signs) >> 7) * 0xff;
    // No byte overflows or borrows: 64 - 62 is positive, 64 + 62 below 256.
    let bytes = EVERY_BYTE * u64::from(OFFSET) + magnitudes - (magnitudes << 1 & negative);
    bytes.to_le_bytes()
}

/// The eight signs of a 7-bit field: an even number of them is negative, so the last one follows from the others.
#[inline(always)]
pub(super) fn even(field: u8) -> u8 {
    let seven = field & 127;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// Eight magnitudes from two points of four.
#[inline(always)]
pub(super) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Magnitudes and the signs of each eight.
#[inline(always)]
pub(super) fn split(x: &[f32; 256]) -> ([f32; 256], [u8; 32]) {
    let signs = std::array::from_fn(|i| {
        x[8 * i..8 * i + 8].iter().rev().fold(0, |bits, x| bits << 1 | u8::from(x.is_sign_negative()))
    });
    (x.map(f32::abs), signs)
}

/// As [`split`], with an even number of negative signs in each eight: where it is odd, the weight that matters least
/// changes its sign and has a negative magnitude, which rounds to the smallest one.
#[inline(always)]
pub(super) fn split_even(x: &[f32; 256], weights: &[f32; 256]) -> ([f32; 256], [u8; 32]) {
    let (mut magnitudes, mut signs) = split(x);
    for (i, signs) in signs.iter_mut().enumerate() {
        if signs.count_ones() % 2 == 1 {
            let cost = |k: &usize| weights[*k] * magnitudes[*k] * magnitudes[*k];
            let least = (8 * i..8 * i + 8).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(8 * i);
            magnitudes[least] = -magnitudes[least];
            *signs ^= 1 << (least % 8);
        }
    }
    (magnitudes, signs)
}

/// Four 7-bit sign fields, the first lowest, with a 4-bit scale above them.
#[inline(always)]
pub(super) fn pack_fields(signs: &[u8], scale: u8) -> [u8; 4] {
    let fields = signs.iter().rev().fold(u32::from(scale), |word, signs| word << 7 | u32::from(signs & 127));
    fields.to_le_bytes()
}

/// The numbers of the points of all cells.
#[inline(always)]
pub(super) fn points<const D: usize, const N: usize, const G: usize, const P: usize>(
    lattice: &Lattice<D>,
    levels: &[[f32; N]; G],
) -> [usize; P] {
    let cells = levels.as_flattened().as_chunks::<D>().0;
    std::array::from_fn(|i| lattice.index(&cells[i]))
}

#[cfg(test)]
mod tests {
    use super::{apply, even};

    #[test]
    fn signs_belong_to_their_bytes() {
        let magnitudes = [1_u8, 62, 8, 25, 43, 4, 12, 20];
        for signs in 0..=255_u8 {
            let found = apply(u64::from_le_bytes(magnitudes), signs);
            for (i, q) in found.into_iter().enumerate() {
                let expected = if signs >> i & 1 == 1 { 64 - magnitudes[i] } else { 64 + magnitudes[i] };
                assert_eq!(q, expected, "{signs:#b}");
            }
        }
    }

    #[test]
    fn a_field_has_even_signs() {
        for field in 0..128 {
            assert_eq!((even(field) & 127, even(field).count_ones() % 2), (field, 0));
        }
    }
}
