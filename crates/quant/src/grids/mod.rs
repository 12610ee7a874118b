//! The codebooks of the `IQ` formats: which runs of eight (or four) magnitudes a block can name.
//!
//! A point is kept packed, as small digits in one integer; the tables ascend, so that a point is found by bisection.
//! They are parts of the formats, like a field's offset: numbers as published in ggml's `ggml-common.h` and in the
//! `gguf` package. [`expand8`] and [`expand4`] make bytes of the digits at compile time.

pub mod iq1;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;

/// What the digits of the 2-bit grids stand for.
pub const IQ2_LEVELS: [u8; 3] = [8, 25, 43];
/// What the digits of [`iq3_xxs`] stand for.
pub const IQ3_XXS_LEVELS: [u8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
/// What the digits of [`iq3_s`] stand for.
pub const IQ3_S_LEVELS: [u8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

/// Points of eight digits of two bits as eight bytes, the first lowest.
#[must_use]
pub const fn expand8<const N: usize>(points: &[u16; N], levels: [u8; 3]) -> [u64; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        let mut k = 0;
        while k < 8 {
            bytes[i] |= (levels[(points[i] >> (2 * k) & 3) as usize] as u64) << (8 * k);
            k += 1;
        }
        i += 1;
    }
    bytes
}

/// Points of four octal digits as four bytes, the first lowest.
#[must_use]
pub const fn expand4<const N: usize>(points: &[u16; N], levels: [u8; 8]) -> [u32; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        let mut k = 0;
        while k < 4 {
            bytes[i] |= (levels[(points[i] >> (3 * k) & 7) as usize] as u32) << (8 * k);
            k += 1;
        }
        i += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{expand4, expand8};

    #[test]
    fn points_ascend() {
        let tables: [&[u16]; 6] = [
            &super::iq1::POINTS,
            &super::iq2_xxs::POINTS,
            &super::iq2_xs::POINTS,
            &super::iq2_s::POINTS,
            &super::iq3_xxs::POINTS,
            &super::iq3_s::POINTS,
        ];
        for points in tables {
            assert!(points.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn the_first_digit_is_the_lowest_byte() {
        assert_eq!(expand8(&[0x9000 | 0b01], [7, 8, 9]), [0x0908_0707_0707_0708]);
        assert_eq!(expand4(&[0o7012], [0, 1, 2, 3, 4, 5, 6, 70]), [0x4600_0102]);
    }
}
