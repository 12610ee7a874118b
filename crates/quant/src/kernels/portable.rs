//! The kernels in plain Rust: the specification of the others.

use super::{Tile, common_len, source, source_group, sum_lanes};
use crate::{Lanes, Superblock, superblock::LANES};

pub(super) fn interleave(offset: f32, blocks: &mut [Superblock]) {
    for block in blocks {
        let natural = *block;
        for p in 0..LANES {
            for v in 0..4 {
                block.q[64 * v + 4 * p..][..4].copy_from_slice(&natural.q[source(v, p)..][..4]);
            }
            block.scales[p] = natural.scales[source_group(p)];
            block.terms[p] = natural.terms[source_group(p)] + offset * block.scales[p];
        }
    }
}

pub(super) fn dot_floats<const R: usize, const T: usize>(rows: [&[Lanes]; R], tokens: [&[Lanes]; T]) -> Tile<R, T> {
    let len = common_len(rows, tokens);
    let dot = |w: &[Lanes], x: &[Lanes]| {
        let mut acc = [0.0; LANES];
        for i in 0..len {
            for (acc, (w, x)) in acc.iter_mut().zip(w[i].0.iter().zip(&x[i].0)) {
                *acc = w.mul_add(*x, *acc);
            }
        }
        sum_lanes(acc)
    };
    rows.map(|w| tokens.map(|x| dot(w, x)))
}

pub(super) fn dot_ints<const R: usize, const T: usize>(
    rows: [&[Superblock]; R],
    tokens: [&[Superblock]; T],
) -> Tile<R, T> {
    let len = common_len(rows, tokens);
    let dot = |w: &[Superblock], x: &[Superblock]| {
        let mut acc = [0.0; LANES];
        for i in 0..len {
            for (p, acc) in acc.iter_mut().enumerate() {
                let product = |k: usize| i32::from(w[i].q[k]) * i32::from(x[i].q[k].cast_signed());
                let sum: i32 = (0..4).flat_map(|v| 64 * v + 4 * p..64 * v + 4 * p + 4).map(product).sum();
                *acc = (sum as f32).mul_add(w[i].scales[p] * x[i].scales[p], *acc);
                *acc = (-w[i].terms[p]).mul_add(x[i].terms[p], *acc);
            }
        }
        sum_lanes(acc)
    };
    rows.map(|w| tokens.map(|x| dot(w, x)))
}
