//! The best scale of a group, or scale and minimum, by least squares over a few candidates.

/// Rounds to the nearest integer within `±2^22`: adding 1.5 * 2^23 leaves no fraction bits.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    (x + MAGIC) - MAGIC
}

/// One over a scale; zero for a scale too small to divide by, so that everything rounds to zero.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale.abs() > f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 }
}

/// Adds up `term(i)` for `i` in `0..N` in lanes of eight.
#[inline(always)]
pub(crate) fn sum<const N: usize>(term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; 8];
    for i in (0..N).step_by(8) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane += term(i + l);
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Gives a group levels: those nearest to `x * inverse`.
pub(crate) trait Snap<const N: usize> {
    fn snap(&self, x: &[f32; N], weights: &[f32; N], inverse: f32) -> [f32; N];
}

/// Integers of a range.
#[derive(Clone, Copy)]
pub(crate) struct Integers {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

impl<const N: usize> Snap<N> for Integers {
    #[inline(always)]
    fn snap(&self, x: &[f32; N], _weights: &[f32; N], inverse: f32) -> [f32; N] {
        std::array::from_fn(|i| round((x[i] * inverse).max(self.min).min(self.max)))
    }
}

/// Sixteen levels that ascend.
#[derive(Clone, Copy)]
pub(crate) struct Table(pub(crate) [f32; 16]);

impl<const N: usize> Snap<N> for Table {
    #[inline(always)]
    fn snap(&self, x: &[f32; N], _weights: &[f32; N], inverse: f32) -> [f32; N] {
        let mut q = [self.0[0]; N];
        for pair in self.0.windows(2) {
            let border = (pair[0] + pair[1]) / 2.0;
            for i in 0..N {
                q[i] = if x[i] * inverse > border { pair[1] } else { q[i] };
            }
        }
        q
    }
}

/// The scale with the least error, signed as its candidates are. They are inverse scales; the best one is refined twice.
#[inline(always)]
pub(crate) fn scale<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    snap: &impl Snap<N>,
    candidates: impl Iterator<Item = f32>,
) -> f32 {
    // The scale that suits the levels of an inverse, and how much lower its error is than that of zeros.
    let fitted = |inverse: f32| {
        let q = snap.snap(x, weights, inverse);
        let xq = sum::<N>(|i| weights[i] * x[i] * q[i]);
        let qq = sum::<N>(|i| weights[i] * q[i] * q[i]);
        if qq > 0.0 && xq * inverse > 0.0 { (xq / qq, xq * xq / qq) } else { (0.0, 0.0) }
    };
    let (mut best, mut refinements) = ((0.0, 0.0), 0..2);
    let mut candidates = candidates;
    while let Some(inverse) = candidates.next().or_else(|| refinements.next().map(|_| inverse(best.0))) {
        let found = fitted(inverse);
        best = if found.1 > best.1 { found } else { best };
    }
    best.0
}

/// How many candidates [`around`] and [`up_to`] give, for each end.
const STEPS: usize = 12;

/// Inverse scales with which the value of the largest magnitude comes near one of both ends of the levels: at `range` times
/// it.
#[inline(always)]
pub(crate) fn around(extreme: f32, low: f32, high: f32, range: (f32, f32)) -> impl Iterator<Item = f32> {
    steps(range).flat_map(move |ratio| [low, high].map(|end| end * ratio * inverse(extreme)))
}

/// Inverse scales with which the largest value comes near the largest level, and one that makes it the least.
#[inline(always)]
pub(crate) fn up_to<const N: usize>(
    x: &[f32; N],
    (low, high): (f32, f32),
    range: (f32, f32),
) -> impl Iterator<Item = f32> + use<N> {
    let max = x.iter().fold(0.0, |a: f32, &b| a.max(b));
    steps(range).map(move |ratio| high * ratio * inverse(max)).chain(std::iter::once(low * inverse(max)))
}

#[inline(always)]
fn steps((first, last): (f32, f32)) -> impl Iterator<Item = f32> {
    (0..=STEPS).map(move |step| first + (last - first) * step as f32 / STEPS as f32)
}

/// Values `scale * q + offset`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

/// How [`affine`] searches.
pub(crate) struct AffineSearch {
    /// Levels are `0..=max_q`.
    pub(crate) max_q: f32,
    /// How far beyond `max_q` the largest value may lie, and how far within.
    pub(crate) overshoot: f32,
    pub(crate) undershoot: f32,
    /// No offset above zero.
    pub(crate) no_positive_offset: bool,
}

impl AffineSearch {
    const STEPS: usize = 14;

    #[inline(always)]
    pub(crate) fn snap<const N: usize>(&self, x: &[f32; N], Affine { scale, offset }: Affine) -> [f32; N] {
        let inverse = inverse(scale);
        std::array::from_fn(|i| round(((x[i] - offset) * inverse).max(0.0).min(self.max_q)))
    }

    /// The scale and offset with the least error.
    #[inline(always)]
    pub(crate) fn fit<const N: usize>(&self, x: &[f32; N], weights: &[f32; N]) -> Affine {
        let mut low = x.iter().fold(f32::INFINITY, |a, &b| a.min(b));
        let high = x.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        if self.no_positive_offset {
            low = low.min(0.0);
        }
        let spread = |shot: f32| Affine { scale: (high - low) / (self.max_q + shot), offset: low };
        let fitted = |start: Affine| {
            let q = self.snap(x, start);
            let fitted = self.solve(x, weights, &q);
            (fitted, error(x, weights, &q, fitted))
        };
        let mut best = (spread(0.0), f32::INFINITY);
        for step in 0..=Self::STEPS + 2 {
            let width = (self.overshoot + self.undershoot) * step as f32 / Self::STEPS as f32;
            // The last two steps refine.
            let found = fitted(if step <= Self::STEPS { spread(width - self.undershoot) } else { best.0 });
            best = if found.1 < best.1 { found } else { best };
        }
        best.0
    }

    /// The scale and offset with the least error for given levels.
    #[inline(always)]
    fn solve<const N: usize>(&self, x: &[f32; N], weights: &[f32; N], q: &[f32; N]) -> Affine {
        let w = sum::<N>(|i| weights[i]);
        let wx = sum::<N>(|i| weights[i] * x[i]);
        let wq = sum::<N>(|i| weights[i] * q[i]);
        let wqq = sum::<N>(|i| weights[i] * q[i] * q[i]);
        let wxq = sum::<N>(|i| weights[i] * x[i] * q[i]);
        let determinant = w * wqq - wq * wq;
        let free = Affine { scale: (w * wxq - wx * wq) / determinant, offset: (wqq * wx - wq * wxq) / determinant };
        if determinant > 0.0 && !(self.no_positive_offset && free.offset > 0.0) {
            free
        } else {
            Affine { scale: if wqq > 0.0 { wxq / wqq } else { 0.0 }, offset: 0.0 }
        }
    }
}

/// The weighted squared error of levels.
#[inline(always)]
pub(crate) fn error<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    q: &[f32; N],
    Affine { scale, offset }: Affine,
) -> f32 {
    sum::<N>(|i| {
        let difference = scale * q[i] + offset - x[i];
        weights[i] * difference * difference
    })
}
