//! `IQ1_S`: 256 weights `d * (2 * scale + 1) * (q + delta)` in groups of 32, with `q` of -1, 0, 1 from a grid of eight
//! and a `delta` of 1/8 or -1/8. Block: `d` f16, the low bytes of 32 grid points, then 16 bits per group: the points'
//! high 3 bits, a 3-bit scale, the sign of delta.

use std::sync::LazyLock;

use crate::{
    GgmlType,
    block::BlockFormat,
    encode::{
        EncodeBlock, extreme,
        fit::{self, Snap},
        groups,
        lattice::Lattice,
        split, weights,
    },
    float16::read_f16,
    grids::{expand8, iq1},
};

pub(crate) struct Iq1S;

/// The byte that stands for zero, in eighths: weights are -9..9 of them.
pub(super) const OFFSET: u8 = 9;
/// The largest byte that [`unpack_point`] writes.
pub(super) const MAX_Q: u8 = 18;

/// A point's weights in eighths, shifted up by 8.
static GRID: [u64; 2048] = expand8(&iq1::POINTS, [0, 8, 16]);

/// The eight weights of a point in eighths, shifted by [`OFFSET`].
#[inline(always)]
pub(super) fn unpack_point(point: usize, negative_delta: bool) -> [u8; 8] {
    // Of the offset 9, the grid has 8; delta is 1 or -1.
    let delta = if negative_delta { 0 } else { 0x0202_0202_0202_0202 };
    (GRID[point] + delta).to_le_bytes()
}

impl BlockFormat<256, 16, 50> for Iq1S {
    const TYPE: GgmlType = GgmlType::IQ1_S;
    const OFFSET: u8 = OFFSET;
    const MAX_Q: u8 = MAX_Q;

    #[inline(always)]
    fn unpack(block: &[u8; 50], q: &mut [u8; 256], scales: &mut [f32; 16], _mins: &mut [f32; 16]) {
        let d = read_f16(block, 0) / 8.0;
        for (group, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let high = u16::from_le_bytes([block[34 + 2 * group], block[35 + 2 * group]]);
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            [scales[2 * group], scales[2 * group + 1]] = [scale; 2];
            for (k, q) in q.as_chunks_mut().0.iter_mut().enumerate() {
                let point = usize::from(block[2 + 4 * group + k]) | usize::from(high >> (3 * k) & 7) << 8;
                *q = unpack_point(point, high >> 15 == 1);
            }
        }
    }
}

/// The codebook for encoding, in eighths and without delta.
static LATTICE: LazyLock<Lattice<8>> = LazyLock::new(|| Lattice::new(&iq1::POINTS, 2, &[-8.0, 0.0, 8.0]));

/// Scales of `IQ1_S` and `IQ1_M`, for levels in eighths.
pub(super) const CODES: groups::ScaleCodes = groups::ScaleCodes { max: 7.0, slope: 0.25, base: 0.125 };

/// Points with a delta that all eights of `SHARED` weights have in common.
pub(super) struct Shifted<const SHARED: usize>;

impl<const SHARED: usize, const N: usize> Snap<N> for Shifted<SHARED> {
    #[inline(always)]
    fn snap(&self, x: &[f32; N], weights: &[f32; N], inverse: f32) -> [f32; N] {
        let lattice = &*LATTICE;
        let mut q = [0.0; N];
        for at in (0..N).step_by(SHARED) {
            let with_delta = |delta: f32| {
                let (mut levels, mut error) = ([0.0; SHARED], 0.0);
                for (k, levels) in levels.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    let cell = |all: &[f32; N]| std::array::from_fn(|i| all[at + 8 * k + i]);
                    let (x, weights): ([f32; 8], [f32; 8]) = (cell(x), cell(weights));
                    *levels = lattice.nearest(&x, &weights, (inverse, delta)).map(|level| level + delta);
                    error +=
                        fit::sum::<8>(|i| weights[i] * (levels[i] - x[i] * inverse) * (levels[i] - x[i] * inverse));
                }
                (levels, error)
            };
            let (positive, negative) = (with_delta(1.0), with_delta(-1.0));
            let best = if negative.1 < positive.1 { negative.0 } else { positive.0 };
            q[at..at + SHARED].copy_from_slice(&best);
        }
        q
    }
}

/// The best scale of a group.
#[inline(always)]
pub(super) fn fit_scale<const N: usize>(x: &[f32; N], weights: &[f32; N], snap: &impl Snap<N>) -> f32 {
    fit::scale(x, weights, snap, fit::up_to(&[extreme(x).abs()], (7.0, 9.0), (1.0, 2.6)))
}

/// The points of all cells, and whether their delta is negative.
#[inline(always)]
pub(super) fn points(levels: &[f32]) -> [(usize, bool); 32] {
    let cells = levels.as_chunks::<8>().0;
    std::array::from_fn(|i| {
        // Positive levels are 1 or 9, or -7: one above a multiple of eight.
        let negative = (cells[i][0] as i32).rem_euclid(8) != 1;
        let delta = if negative { -1.0 } else { 1.0 };
        (LATTICE.index(&cells[i].map(|level| level - delta)), negative)
    })
}

impl EncodeBlock<256, 50> for Iq1S {
    #[inline(always)]
    fn encode(x: &[f32; 256], importance: Option<&[f32; 256]>) -> [u8; 50] {
        let snap = Shifted::<32>;
        let (x, weights) = (split::<256, 32, 8>(x), split(&weights(importance)));
        let ideal = std::array::from_fn(|g| fit_scale(&x[g], &weights[g], &snap));
        let found = groups::scaled((&x, &weights), &ideal, CODES, &snap);
        let points = points(found.levels.as_flattened());
        let mut block = [0; 50];
        block[..2].copy_from_slice(&found.d.to_le_bytes());
        for (group, points) in points.as_chunks::<4>().0.iter().enumerate() {
            let mut high = u16::from(found.codes[group]) << 12 | u16::from(points[0].1) << 15;
            for (k, (point, _)) in points.iter().enumerate() {
                block[2 + 4 * group + k] = *point as u8;
                high |= ((point >> 8) as u16) << (3 * k);
            }
            block[34 + 2 * group..][..2].copy_from_slice(&high.to_le_bytes());
        }
        block
    }
}
