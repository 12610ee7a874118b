//! The nearest point of a codebook.
//!
//! Rounding each weight to a level of its own gives a pattern. Where it is a point, it is the nearest one. Where it is
//! not, the nearest lies among the points around the pattern, which are listed beforehand.

use super::fit::Snap;

/// Points that are looked at around a pattern that is none.
const NUM_NEAR: usize = 20;

/// A codebook of points with `D` digits.
pub(crate) struct Lattice<const D: usize> {
    digit_bits: u32,
    /// What the digits stand for, ascending.
    levels: Vec<f32>,
    /// The points, as values.
    points: Vec<[f32; D]>,
    /// Of each pattern the first of its points in `near`; one more for the end.
    starts: Vec<u32>,
    near: Vec<u16>,
}

impl<const D: usize> Lattice<D> {
    /// A codebook whose points are packed in `digit_bits` each.
    pub(crate) fn new(packed: &[u16], digit_bits: u32, levels: &[f32]) -> Self {
        let digits = |pattern: usize| -> [usize; D] {
            std::array::from_fn(|i| pattern >> (digit_bits as usize * i) & ((1 << digit_bits) - 1))
        };
        let coordinates: Vec<[i32; D]> =
            packed.iter().map(|&p| digits(usize::from(p)).map(|digit| digit as i32)).collect();
        let points = coordinates.iter().map(|point| point.map(|digit| levels[digit as usize])).collect();
        let (mut starts, mut near) = (vec![0], Vec::new());
        let mut by_distance = Vec::new();
        for pattern in 0..1 << (digit_bits as usize * D) {
            let digits = digits(pattern);
            if let Ok(idx) = packed.binary_search(&(pattern as u16)) {
                near.push(idx as u16);
            } else if digits.iter().all(|&digit| digit < levels.len()) {
                by_distance.clear();
                by_distance.extend(coordinates.iter().zip(0..).map(|(point, idx): (_, u16)| {
                    let distance: i32 = point.iter().zip(digits).map(|(p, d)| (p - d as i32).pow(2)).sum();
                    (distance, idx)
                }));
                by_distance.select_nth_unstable(NUM_NEAR);
                near.extend(by_distance[..NUM_NEAR].iter().map(|(_, idx)| idx));
            }
            starts.push(near.len() as u32);
        }
        Self { digit_bits, levels: levels.to_vec(), points, starts, near }
    }

    /// The number of a point, which [`Self::nearest`] gave.
    pub(crate) fn index(&self, point: &[f32; D]) -> usize {
        let digit = |level: &f32| self.levels.iter().position(|l| l == level).unwrap_or(0);
        let pattern = point.iter().rev().fold(0, |pattern, level| pattern << self.digit_bits | digit(level));
        usize::from(self.near(pattern)[0])
    }

    /// The points around a pattern: itself where it is one.
    #[inline(always)]
    fn near(&self, pattern: usize) -> &[u16] {
        &self.near[self.starts[pattern] as usize..self.starts[pattern + 1] as usize]
    }

    /// The point nearest to `x * inverse - shift`.
    #[inline(always)]
    pub(crate) fn nearest(&self, x: &[f32; D], weights: &[f32; D], (inverse, shift): (f32, f32)) -> [f32; D] {
        let x: [f32; D] = std::array::from_fn(|i| x[i] * inverse - shift);
        let mut digits = [0_u32; D];
        for pair in self.levels.windows(2) {
            let border = (pair[0] + pair[1]) / 2.0;
            for i in 0..D {
                digits[i] += u32::from(x[i] > border);
            }
        }
        let pattern = digits.iter().rev().fold(0, |pattern, digit| pattern << self.digit_bits | digit) as usize;
        let near = self.near(pattern);
        let distance = |point: &[f32; D]| -> f32 {
            let squares: [f32; D] = std::array::from_fn(|i| weights[i] * (point[i] - x[i]) * (point[i] - x[i]));
            squares.iter().sum()
        };
        let mut best = &self.points[usize::from(near[0])];
        if near.len() > 1 {
            let mut least = distance(best);
            for idx in &near[1..] {
                let point = &self.points[usize::from(*idx)];
                let distance = distance(point);
                (best, least) = if distance < least { (point, distance) } else { (best, least) };
            }
        }
        *best
    }
}

impl<const D: usize, const N: usize> Snap<N> for Lattice<D> {
    #[inline(always)]
    fn snap(&self, x: &[f32; N], weights: &[f32; N], inverse: f32) -> [f32; N] {
        let mut q = [0.0; N];
        let cells = x.as_chunks().0.iter().zip(weights.as_chunks().0).zip(q.as_chunks_mut().0);
        for ((x, weights), q) in cells {
            *q = self.nearest(x, weights, (inverse, 0.0));
        }
        q
    }
}
