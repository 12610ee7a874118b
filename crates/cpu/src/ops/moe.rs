//! Experts: which of them each token passes, products with their matrices, and the weighted sum of what they give.
//!
//! A token and an expert chosen for it are a pair. Pairs are sorted by expert, so that an expert's rows are decoded once
//! for all its tokens.

use std::ops::Range;

use model::Moe;
use quant::{Activations, Kernel, LANES};

use super::Compute;
use crate::{
    disjoint::Disjoint,
    math::exp,
    weights::{Model, Weight},
};

/// Rows of a task, as for dense matrices.
const TASK_ROWS: usize = 32;
/// Rows decoded at a time for few and for many tokens, as for dense matrices.
const FEW_ROWS: usize = 2;
const MANY_ROWS: usize = 16;

/// Which experts the tokens of a step pass.
#[derive(Default)]
pub(crate) struct Routes {
    /// Experts of a token.
    num_used: usize,
    /// The weight of each token's experts, `[num_tokens, num_used]`, the most probable first.
    weights: Vec<f32>,
    /// The pairs of each token's experts, in the same order.
    pairs: Vec<usize>,
    /// The token of each pair, `[num_pairs]`.
    tokens: Vec<usize>,
    /// The experts that any token chose, with their pairs.
    groups: Vec<(usize, Range<usize>)>,
    order: Vec<usize>,
}

impl Routes {
    /// Chooses from the router's logits, `[num_tokens, num_experts]`, which become probabilities.
    pub(crate) fn choose(&mut self, logits: &mut [f32], spec: &Moe) {
        let Moe { num_experts, num_used, .. } = *spec;
        let num_pairs = logits.len() / num_experts * num_used;
        self.num_used = num_used;
        self.weights.clear();
        // First the expert of each pair in the order of the tokens.
        self.pairs.clear();
        let mut group_lens = vec![0; num_experts];
        for probs in logits.chunks_exact_mut(num_experts) {
            softmax(probs);
            let order = &mut self.order;
            order.clear();
            order.extend(0..num_experts);
            order.sort_unstable_by(|&a, &b| probs[b].total_cmp(&probs[a]).then(a.cmp(&b)));
            let chosen = &order[..num_used];
            let sum: f32 = if spec.normalize { chosen.iter().map(|&expert| probs[expert]).sum() } else { 1.0 };
            self.weights.extend(chosen.iter().map(|&expert| probs[expert] / sum));
            self.pairs.extend_from_slice(chosen);
            chosen.iter().for_each(|&expert| group_lens[expert] += 1);
        }
        // Then each pair's place behind those of the experts before its own.
        self.groups.clear();
        let mut next = 0;
        for (expert, len) in group_lens.iter_mut().enumerate() {
            let start = next;
            next += std::mem::replace(len, start);
            if next > start {
                self.groups.push((expert, start..next));
            }
        }
        self.tokens.resize(num_pairs, 0);
        for (idx, pair) in self.pairs.iter_mut().enumerate() {
            let free = &mut group_lens[*pair];
            self.tokens[*free] = idx / num_used;
            *pair = *free;
            *free += 1;
        }
    }

    /// Pairs of a token and an expert.
    pub(crate) fn num_pairs(&self) -> usize {
        self.tokens.len()
    }
}

/// Probabilities of logits.
fn softmax(logits: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|x| *x = exp(*x - max));
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
}

/// Copies every pair's token, `[num_tokens, num_cols]` to `[num_pairs, num_cols]`.
pub(crate) fn gather(compute: &mut Compute, routes: &Routes, x: &Activations, out: &mut Activations) {
    let num_cols = x.num_cols();
    out.resize(routes.num_pairs(), num_cols);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |pair, out, _| {
        out[..num_cols].copy_from_slice(x.row(routes.tokens[pair]));
    });
}

/// Multiplies every pair, a row of `x`, with its expert's matrices `[num_experts, rows, num_cols]`, which all have as many
/// rows; each result is `[num_pairs, rows]`.
pub(crate) fn matmul<const N: usize>(
    compute: &mut Compute,
    (model, routes): (&Model, &Routes),
    x: &Activations,
    products: [(&Weight, &mut [f32]); N],
) {
    let (isa, precision) = (compute.isa, compute.precision);
    let num_rows = products[0].0.num_rows();
    let products = products.map(|(weight, out)| {
        assert_eq!(out.len(), routes.num_pairs() * num_rows, "outputs of {num_rows} rows");
        assert_eq!(weight.num_rows(), num_rows, "matrices of as many rows");
        (weight, Disjoint::new(out))
    });
    let num_tiles = num_rows.div_ceil(TASK_ROWS);
    compute.pool.run(num_tiles * routes.groups.len() * N, |task, scratch| {
        let (weight, out) = &products[task % N];
        let (expert, pairs) = &routes.groups[task / N / num_tiles];
        let start = task / N % num_tiles * TASK_ROWS;
        let panel_rows = if pairs.len() <= 4 { FEW_ROWS } else { MANY_ROWS };
        let end = (start + TASK_ROWS).min(num_rows);
        let rows =
            |rows: Range<usize>| weight.rows(&model.gguf, expert * num_rows + rows.start..expert * num_rows + rows.end);
        quant::prefetch(rows(start..end));
        for first in (start..end).step_by(panel_rows) {
            scratch.panel.load(isa, weight.layout(precision), rows(first..(first + panel_rows).min(end)));
            scratch.panel.multiply(isa, x, pairs.clone(), |row, pair, value| {
                // SAFETY: a row of a pair belongs to one task, which writes it once.
                *unsafe { out.element(pair * num_rows + first + row) } = value;
            });
        }
    });
}

/// Sums each token's experts times their weights, the most probable first: `[num_pairs, num_cols]` to
/// `[num_tokens, num_cols]`.
pub(crate) fn weighted_sum(compute: &mut Compute, routes: &Routes, pairs: &[f32], out: &mut [f32]) {
    let num_used = routes.num_used;
    let num_cols = pairs.len() / routes.num_pairs();
    compute.pool.for_each_chunk(out, num_cols, |token, out, _| {
        out.fill(0.0);
        for (pair, weight) in routes.pairs.iter().zip(&routes.weights).skip(token * num_used).take(num_used) {
            let values = &pairs[pair * num_cols..][..num_cols];
            out.iter_mut().zip(values).for_each(|(out, value)| *out += weight * value);
        }
    });
}

/// The sigmoid of every token's dot product with `weight`, `[num_tokens]`.
pub(crate) fn sigmoid_dots(compute: &mut Compute, weight: &[f32], x: &Activations, out: &mut Vec<f32>) {
    let isa = compute.isa;
    out.clear();
    out.extend((0..x.num_tokens()).map(|token| {
        let dot = isa.run(Dot { a: weight, b: x.row(token) });
        1.0 / (1.0 + exp(-dot))
    }));
}

/// Adds rows times each row's weight: `[num_tokens, num_cols]`.
pub(crate) fn add_scaled(compute: &mut Compute, weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let num_cols = rows.len() / weights.len();
    compute.pool.for_each_chunk(out, num_cols, |token, out, _| {
        let values = &rows[token * num_cols..][..num_cols];
        out.iter_mut().zip(values).for_each(|(out, value)| *out += weights[token] * value);
    });
}

/// A dot product, summed over sixteen lanes in a fixed order.
struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        for (a, b) in self.a.chunks(LANES).zip(self.b.chunks(LANES)) {
            for (sum, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *sum = a.mul_add(*b, *sum);
            }
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use model::{Activation, Moe};
    use quant::Isa;

    use super::{Dot, Routes};

    fn choose(logits: &[f32], spec: &Moe) -> Routes {
        let mut routes = Routes::default();
        routes.choose(&mut logits.to_vec(), spec);
        routes
    }

    fn moe(num_experts: usize, num_used: usize, normalize: bool) -> Moe {
        Moe { num_experts, num_used, size: 1, activation: Activation::Silu, normalize, shared_size: None }
    }

    #[test]
    fn the_most_probable_experts_are_chosen_and_pairs_are_sorted_by_expert() {
        let ln = f32::ln;
        // Probabilities 1/10, 4/10, 3/10, 2/10; then 6/10, 1/10, 1/10, 2/10.
        let logits = [ln(1.0), ln(4.0), ln(3.0), ln(2.0), ln(6.0), ln(1.0), ln(1.0), ln(2.0)];
        let routes = choose(&logits, &moe(4, 2, false));
        assert_eq!(routes.groups, [(0, 0..1), (1, 1..2), (2, 2..3), (3, 3..4)]);
        assert_eq!(routes.tokens, [1, 0, 0, 1]);
        assert_eq!(routes.pairs, [1, 2, 0, 3]);
        let near = |routes: &Routes, expected: [f32; 4]| {
            for (weight, expected) in routes.weights.iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-6, "{weight}, expected {expected}");
            }
        };
        near(&routes, [0.4, 0.3, 0.6, 0.2]);
        near(&choose(&logits, &moe(4, 2, true)), [4.0 / 7.0, 3.0 / 7.0, 0.75, 0.25]);
    }

    #[test]
    fn of_equal_experts_the_first_are_chosen() {
        let routes = choose(&[0.5; 15], &moe(5, 3, true));
        assert_eq!(routes.groups, [(0, 0..3), (1, 3..6), (2, 6..9)]);
        assert_eq!(routes.tokens, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(routes.pairs, [0, 3, 6, 1, 4, 7, 2, 5, 8]);
    }

    #[test]
    fn logits_that_are_no_numbers_still_choose() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let routes = choose(&[bad; 8], &moe(4, 2, true));
            assert_eq!((routes.num_pairs(), routes.groups.len()), (4, 2), "{bad}");
        }
    }

    #[test]
    fn dot_products_have_the_same_bits_everywhere() {
        let (a, b): (Vec<_>, Vec<_>) = (0..37).map(|i| (i as f32 - 11.0, 1.0 + i as f32 / 64.0)).unzip();
        let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        for isa in Isa::available() {
            let dot = isa.run(Dot { a: &a, b: &b });
            assert_eq!(f64::from(dot), expected, "{}", isa.name());
        }
    }
}
