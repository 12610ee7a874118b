//! Scales of a superblock's groups: a float for all of them, and a small integer for each.

use super::fit::{self, Affine, AffineSearch, Snap};
use crate::{f16_to_f32, f32_to_f16};

/// What the integers of the groups mean: a group's scale is `d * (slope * code + base)` for a code of `0..=max`.
#[derive(Clone, Copy)]
pub(crate) struct ScaleCodes {
    pub(crate) max: f32,
    pub(crate) slope: f32,
    pub(crate) base: f32,
}

impl ScaleCodes {
    #[inline(always)]
    fn value(self, code: f32) -> f32 {
        self.slope * code + self.base
    }

    #[inline(always)]
    fn nearest(self, value: f32) -> f32 {
        fit::round(((value - self.base) / self.slope).max(0.0).min(self.max))
    }

    /// The `d` with which the largest of the scales has the code of the largest magnitude.
    #[inline(always)]
    fn d_of(self, scales: &[f32]) -> f32 {
        let largest = super::extreme(scales);
        let (low, high) = (self.value(0.0), self.value(self.max));
        largest / if low.abs() > high.abs() { low } else { high }
    }
}

/// A superblock whose groups have scales.
pub(crate) struct Scaled<const N: usize, const G: usize> {
    /// f16.
    pub(crate) d: u16,
    pub(crate) codes: [u8; G],
    pub(crate) levels: [[f32; N]; G],
}

/// Finds `d`, codes and levels for groups that would like these scales.
#[inline(always)]
pub(crate) fn scaled<const N: usize, const G: usize>(
    (x, weights): (&[[f32; N]; G], &[[f32; N]; G]),
    ideal: &[f32; G],
    codes: ScaleCodes,
    snap: &impl Snap<N>,
) -> Scaled<N, G> {
    let mut d = to_half(codes.d_of(ideal));
    let mut chosen = [0.0; G];
    let (mut xq, mut qq) = (0.0, 0.0);
    for g in 0..G {
        let nearest = codes.nearest(ideal[g] * fit::inverse(d));
        let mut best = (f32::INFINITY, 0.0, 0.0);
        for code in [nearest, nearest - 1.0, nearest + 1.0] {
            let code = code.max(0.0).min(codes.max);
            let scale = d * codes.value(code);
            let q = snap.snap(&x[g], &weights[g], fit::inverse(scale));
            let error = fit::error(&x[g], &weights[g], &q, Affine { scale, offset: 0.0 });
            if error < best.0 {
                let sums =
                    (fit::sum::<N>(|i| weights[g][i] * x[g][i] * q[i]), fit::sum::<N>(|i| weights[g][i] * q[i] * q[i]));
                best = (error, sums.0 * codes.value(code), sums.1 * codes.value(code) * codes.value(code));
                chosen[g] = code;
            }
        }
        xq += best.1;
        qq += best.2;
    }
    // With all codes and levels given, the best `d` follows.
    if qq > 0.0 && xq / qq * d > 0.0 {
        d = to_half(xq / qq);
    }
    let levels = std::array::from_fn(|g| snap.snap(&x[g], &weights[g], fit::inverse(d * codes.value(chosen[g]))));
    Scaled { d: f32_to_f16(d), codes: chosen.map(|code| code as u8), levels }
}

/// A superblock whose groups have scales and minimums.
pub(crate) struct WithMins<const N: usize, const G: usize> {
    /// f16, as `dmin`.
    pub(crate) d: u16,
    pub(crate) dmin: u16,
    pub(crate) scales: [u8; G],
    pub(crate) mins: [u8; G],
    pub(crate) q: [[f32; N]; G],
}

/// Finds all parts of a superblock `d * scale * q - dmin * min` whose scales and minimums are `0..=max_code`.
#[inline(always)]
pub(crate) fn with_mins<const N: usize, const G: usize>(
    (x, weights): (&[[f32; N]; G], &[[f32; N]; G]),
    max_code: f32,
    search: &AffineSearch,
) -> WithMins<N, G> {
    let ideal: [Affine; G] = std::array::from_fn(|g| search.fit(&x[g], &weights[g]));
    let largest = |of: fn(&Affine) -> f32| ideal.iter().map(of).fold(0.0, f32::max);
    let mut d = to_half(largest(|a| a.scale) / max_code);
    let mut dmin = to_half(largest(|a| -a.offset) / max_code);
    let mut codes = [(0.0, 0.0); G];
    let mut normal = Normal::default();
    for g in 0..G {
        let nearest = fit::round(ideal[g].scale * fit::inverse(d)).max(0.0).min(max_code);
        let (mut best_error, mut best_q) = (f32::INFINITY, [0.0; N]);
        for scale_code in [nearest, nearest - 1.0, nearest + 1.0] {
            let scale_code = scale_code.max(0.0).min(max_code);
            let scale = d * scale_code;
            // The minimum that suits this scale, then its code.
            let q = search.snap(&x[g], Affine { scale, offset: ideal[g].offset });
            let rest = fit::sum::<N>(|i| weights[g][i] * (scale * q[i] - x[g][i]));
            let min = rest / fit::sum::<N>(|i| weights[g][i]);
            let min_code = fit::round((min * fit::inverse(dmin)).max(0.0).min(max_code));
            let affine = Affine { scale, offset: -dmin * min_code };
            let q = search.snap(&x[g], affine);
            let error = fit::error(&x[g], &weights[g], &q, affine);
            if error < best_error {
                (best_error, best_q, codes[g]) = (error, q, (scale_code, min_code));
            }
        }
        normal.add(&x[g], &weights[g], &best_q, codes[g]);
    }
    if let Some(solved) = normal.solve() {
        (d, dmin) = (to_half(solved.0), to_half(solved.1));
    }
    let q = std::array::from_fn(|g| search.snap(&x[g], Affine { scale: d * codes[g].0, offset: -dmin * codes[g].1 }));
    WithMins {
        d: f32_to_f16(d),
        dmin: f32_to_f16(dmin),
        scales: codes.map(|(scale, _)| scale as u8),
        mins: codes.map(|(_, min)| min as u8),
        q,
    }
}

/// The normal equations of `d` and `dmin` with all else given.
#[derive(Default)]
struct Normal {
    aa: f32,
    ab: f32,
    bb: f32,
    xa: f32,
    xb: f32,
}

impl Normal {
    #[inline(always)]
    fn add<const N: usize>(&mut self, x: &[f32; N], weights: &[f32; N], q: &[f32; N], (scale, min): (f32, f32)) {
        self.aa += scale * scale * fit::sum::<N>(|i| weights[i] * q[i] * q[i]);
        self.ab += scale * min * fit::sum::<N>(|i| weights[i] * q[i]);
        self.bb += min * min * fit::sum::<N>(|i| weights[i]);
        self.xa += scale * fit::sum::<N>(|i| weights[i] * x[i] * q[i]);
        self.xb += min * fit::sum::<N>(|i| weights[i] * x[i]);
    }

    /// `d` and `dmin`, where they are determined and positive.
    #[inline(always)]
    fn solve(&self) -> Option<(f32, f32)> {
        let determinant = self.aa * self.bb - self.ab * self.ab;
        let d = (self.xa * self.bb - self.xb * self.ab) / determinant;
        let dmin = (self.xa * self.ab - self.xb * self.aa) / determinant;
        (determinant > 1e-4 * self.aa * self.bb && d > 0.0 && dmin > 0.0).then_some((d, dmin))
    }
}

/// The float that a half can hold.
#[inline(always)]
fn to_half(x: f32) -> f32 {
    f16_to_f32(f32_to_f16(x))
}
