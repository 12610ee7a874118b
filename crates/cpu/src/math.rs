//! The functions of the forward pass, written so that loops over them become vector code.

/// `e^x`, within 2 units in the last place; `0` below `-87.3` and `inf` above `88.7`.
///
/// `e^x = 2^n * e^r` with an integer `n` and `|r| <= ln(2) / 2`, where a polynomial of degree 6 serves.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    // ln(2) in two parts, the first with few bits, so that `n` times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.3, 88.7);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, clamped));
    let mut poly = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        poly = r.mul_add(poly, coefficient);
    }
    // Adding to the exponent in two steps keeps 2^128 from overflowing before it is multiplied.
    let half = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed() >> 1;
    let rest = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed() - half;
    let power = |n: i32| f32::from_bits((n + 127).cast_unsigned() << 23);
    let value = poly * power(half) * power(rest);
    if x < -87.3 {
        0.0
    } else if x > 88.7 {
        f32::INFINITY
    } else {
        value
    }
}

/// `tanh(x)` within 2e-6 of itself, through `e^(-2|x|)`; near zero, where that cancels, by its series.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    let square = x * x;
    // tanh x = x - x^3 / 3 + 2 x^5 / 15 - 17 x^7 / 315; the next term is below 1e-8 of x here.
    let series = (-17.0_f32 / 315.0).mul_add(square, 2.0 / 15.0).mul_add(square, -1.0 / 3.0);
    if x.abs() < 0.1 { (series * square).mul_add(x, x) } else { far }
}

/// `erf(x)` within 2e-7, by the Chebyshev approximation of `erfc` in Numerical Recipes (section 6.2).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let t = 1.0 / (0.5_f32).mul_add(x.abs(), 1.0);
    let mut poly = 0.170_872_77;
    for coefficient in
        [-0.822_152_23, 1.488_515_9, -1.135_204, 0.278_868_07, -0.186_288_06, 0.096_784_18, 0.374_091_96, 1.000_023_7]
    {
        poly = t.mul_add(poly, coefficient);
    }
    let erfc = t * exp((-x).mul_add(x, t.mul_add(poly, -1.265_512_2)));
    (1.0 - erfc).copysign(x)
}

/// `cap * tanh(x / cap)`.
#[inline(always)]
pub(crate) fn softcap(x: f32, cap: f32) -> f32 {
    cap * tanh(x / cap)
}

#[cfg(test)]
mod tests {
    use super::{erf, exp, softcap, tanh};

    fn check(found: f32, expected: f64, bound: f64) {
        let error = (f64::from(found) - expected).abs() / expected.abs();
        assert!(error <= bound, "{found:e}, expected {expected:e}");
    }

    #[test]
    fn exp_and_tanh_are_near_those_of_f64() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            check(exp(x), f64::from(x).exp(), 2.5e-7);
            if i != 0 {
                check(tanh(x / 8.0), f64::from(x / 8.0).tanh(), 2e-6);
            }
        }
        assert_eq!((exp(-1000.0), exp(f32::NEG_INFINITY), exp(100.0)), (0.0, 0.0, f32::INFINITY));
        assert_eq!((exp(0.0), tanh(0.0), tanh(50.0), tanh(-50.0)), (1.0, 0.0, 1.0, -1.0));
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        for (x, expected) in [
            (0.1, 0.112_462_916_018_285),
            (0.5, 0.520_499_877_813_047),
            (1.0, 0.842_700_792_949_715),
            (2.0, 0.995_322_265_018_953),
        ] {
            check(erf(x), expected, 2e-6);
            assert_eq!(erf(-x), -erf(x));
        }
        assert!(erf(0.0).abs() < 2e-7 && erf(9.0) == 1.0);
        check(softcap(25.0, 30.0), 30.0 * (25.0_f64 / 30.0).tanh(), 1e-6);
    }
}
