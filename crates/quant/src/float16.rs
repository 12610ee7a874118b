//! Half precision, without branches: the compiler turns loops over these into vector code.

/// Widens an IEEE half, exactly; infinities and NaNs stay what they are.
#[inline(always)]
#[must_use]
pub fn f16_to_f32(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponents' biases differ by 112; multiplying also makes normal numbers of subnormal halves.
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = magnitude | 0x7f80_0000;
    let value = if magnitude >= 0x7c00 << 13 { special } else { finite };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

/// Rounds to the nearest IEEE half, ties to even; what is too large becomes infinite, NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // Normal halves: rebase the exponent, then round away the 13 lowest bits. A carry runs into the exponent, as it
    // should.
    let rounded = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + (magnitude >> 13 & 1)) >> 13;
    // Subnormal halves count units of 2^-24: adding 0.5 makes the addition round to such units.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 143 << 23 {
        0x7c00
    } else if magnitude < 113 << 23 {
        subnormal
    } else {
        rounded
    };
    sign | half as u16
}

/// The little-endian half at the start of `bytes`.
#[inline(always)]
pub(crate) fn read_f16<const N: usize>(bytes: &[u8; N], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

#[cfg(test)]
mod tests {
    use super::{f16_to_f32, f32_to_f16};

    #[test]
    fn all_halves_widen_and_narrow_as_ieee_says() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = f16_to_f32(bits);
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{bits:#x}");
            assert!(f32_to_f16(found) == bits || found.is_nan(), "{bits:#x}");
        }
    }

    #[test]
    fn narrowing_rounds_to_even() {
        // Around every border between two halves: the midpoint, one unit below and one above.
        for bits in 0..0x7bff_u16 {
            let midpoint = (f16_to_f32(bits) + f16_to_f32(bits + 1)) / 2.0;
            for x in [midpoint, midpoint.next_down(), midpoint.next_up()] {
                assert_eq!(f32_to_f16(x), half::f16::from_f32(x).to_bits(), "{x:e}");
                assert_eq!(f32_to_f16(-x), half::f16::from_f32(-x).to_bits(), "-{x:e}");
            }
        }
        for x in [0.0, -0.0, 65519.9, 65520.0, f32::MAX, f32::INFINITY, 1e-30] {
            assert_eq!(f32_to_f16(x), half::f16::from_f32(x).to_bits(), "{x:e}");
        }
        assert!(half::f16::from_bits(f32_to_f16(f32::NAN)).is_nan());
    }
}
