//! Experts: which of them each token passes, and the weighted sum of what they give.
//!
//! A token and an expert chosen for it are a pair. Pairs are sorted by expert, so that an expert's rows are decoded once
//! for all its tokens.

use std::ops::Range;

use model::{ExpertGroups, GroupScore, Moe, Scoring, Weighted};
use quant::{Activations, Kernel, LANES};

use super::Compute;
use crate::math::exp;

/// Which experts the tokens of a step pass.
#[derive(Default)]
pub(crate) struct Routes {
    /// Experts of a token.
    num_used: usize,
    /// The weight of each token's experts, `[num_tokens, num_used]`, the best first.
    weights: Vec<f32>,
    /// The pairs of each token's experts, in the same order.
    pairs: Vec<usize>,
    /// The token of each pair, `[num_pairs]`.
    tokens: Vec<usize>,
    /// The experts that any token chose, with their pairs.
    groups: Vec<(usize, Range<usize>)>,
    order: Vec<usize>,
    /// What a token's experts are chosen by, `[num_experts]`.
    choice: Vec<f32>,
}

impl Routes {
    /// Chooses from the router's logits, `[num_tokens, num_experts]`, which become scores; `selection_bias` is added to
    /// them for the choice alone.
    pub(crate) fn choose(&mut self, logits: &mut [f32], selection_bias: &[f32], spec: &Moe) {
        let Moe { num_experts, num_used, .. } = *spec;
        let num_pairs = logits.len() / num_experts * num_used;
        self.num_used = num_used;
        self.weights.clear();
        // First the expert of each pair in the order of the tokens.
        self.pairs.clear();
        let mut group_lens = vec![0; num_experts];
        for scores in logits.chunks_exact_mut(num_experts) {
            match spec.scoring {
                Scoring::Softmax => softmax(scores),
                Scoring::Sigmoid => scores.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x))),
            }
            self.choice.clear();
            self.choice.extend_from_slice(scores);
            self.choice.iter_mut().zip(selection_bias).for_each(|(choice, bias)| *choice += bias);
            if let Some(groups) = spec.groups {
                keep_best_groups(&mut self.choice, groups, &mut self.order);
            }
            sort_descending(&self.choice, &mut self.order);
            let chosen = &self.order[..num_used];
            let sum: f32 = if spec.normalize { chosen.iter().map(|&expert| scores[expert]).sum() } else { 1.0 };
            self.weights.extend(chosen.iter().map(|&expert| scores[expert] / sum * spec.weight_scale));
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

    /// The experts that any token chose, with their pairs.
    pub(crate) fn groups(&self) -> &[(usize, Range<usize>)] {
        &self.groups
    }
}

/// The places of `values` from the largest to the smallest; of equal ones the first comes first.
fn sort_descending(values: &[f32], order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..values.len());
    order.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
}

/// Takes all experts out of the choice that are in no good group.
fn keep_best_groups(choice: &mut [f32], groups: ExpertGroups, order: &mut Vec<usize>) {
    let per_group = choice.len() / groups.count;
    let best = |group: &[f32], order: &mut Vec<usize>| {
        sort_descending(group, order);
        let num_scores = match groups.score {
            GroupScore::Best => 1,
            GroupScore::BestTwo => 2,
        };
        order.iter().take(num_scores).map(|&i| group[i]).sum()
    };
    let scores: Vec<f32> = choice.chunks_exact(per_group).map(|group| best(group, order)).collect();
    sort_descending(&scores, order);
    for &group in &order[groups.used..] {
        choice[group * per_group..][..per_group].fill(f32::NEG_INFINITY);
    }
}

/// Probabilities of logits.
fn softmax(logits: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|x| *x = exp(*x - max));
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
}

/// Copies every pair's token, `[num_tokens, num_cols]` to `[num_pairs, num_cols]`, times its weight where that is for
/// inputs.
pub(crate) fn gather(
    compute: &mut Compute,
    routes: &Routes,
    x: &Activations,
    weighted: Weighted,
    out: &mut Activations,
) {
    let num_cols = x.num_cols();
    out.resize(routes.num_pairs(), num_cols);
    let stride = out.stride();
    compute.pool.for_each_chunk(out.floats_mut(), stride, |pair, out, _| {
        out[..num_cols].copy_from_slice(x.row(routes.tokens[pair]));
    });
    if weighted == Weighted::Input {
        for (pair, weight) in routes.pairs.iter().zip(&routes.weights) {
            out.floats_mut()[pair * stride..][..num_cols].iter_mut().for_each(|x| *x *= weight);
        }
    }
}

/// Sums each token's experts, times their weights where those are for outputs, the best first: `[num_pairs, num_cols]` to
/// `[num_tokens, num_cols]`.
pub(crate) fn weighted_sum(compute: &mut Compute, routes: &Routes, weighted: Weighted, pairs: &[f32], out: &mut [f32]) {
    let num_used = routes.num_used;
    let num_cols = pairs.len() / routes.num_pairs();
    compute.pool.for_each_chunk(out, num_cols, |token, out, _| {
        out.fill(0.0);
        for (pair, weight) in routes.pairs.iter().zip(&routes.weights).skip(token * num_used).take(num_used) {
            let values = &pairs[pair * num_cols..][..num_cols];
            let weight = if weighted == Weighted::Output { *weight } else { 1.0 };
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
    use model::{ExpertGroups, GroupScore, Moe, Scoring};
    use quant::Isa;

    use super::{Dot, Routes};

    fn choose(logits: &[f32], spec: &Moe) -> Routes {
        let mut routes = Routes::default();
        routes.choose(&mut logits.to_vec(), &[], spec);
        routes
    }

    fn moe(num_experts: usize, num_used: usize, normalize: bool) -> Moe {
        Moe { normalize, ..Moe::plain((num_used, num_experts), 1) }
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
    fn good_groups_win_over_good_experts() {
        // Sigmoids of 6/10 and 1/10, 5/10 and 3/10, 4/10 and 4/10.
        let logits = [0.6, 0.1, 0.5, 0.3, 0.4, 0.4].map(|p: f32| (p / (1.0 - p)).ln());
        let choose = |score, used, bias: &[f32]| {
            let groups = Some(ExpertGroups { count: 3, used, score });
            let spec =
                Moe { scoring: Scoring::Sigmoid, groups, normalize: false, weight_scale: 2.0, ..moe(6, 2, false) };
            let mut routes = Routes::default();
            routes.choose(&mut logits.to_vec(), bias, &spec);
            let chosen: Vec<_> = routes.groups.iter().map(|(expert, _)| *expert).collect();
            (chosen, routes.weights)
        };
        let check = |found: (Vec<usize>, Vec<f32>), experts: [usize; 2], weights: [f32; 2]| {
            assert_eq!(found.0, experts);
            assert!(found.1.iter().zip(weights).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", found.1);
        };
        check(choose(GroupScore::Best, 1, &[]), [0, 1], [1.2, 0.2]);
        // The sums are 7/10, 8/10, 8/10.
        check(choose(GroupScore::BestTwo, 1, &[]), [2, 3], [1.0, 0.6]);
        check(choose(GroupScore::BestTwo, 2, &[]), [2, 4], [1.0, 0.8]);
        // The bias chooses and does not weigh.
        check(choose(GroupScore::BestTwo, 1, &[0.0, 0.2, 0.0, 0.0, 0.0, 0.0]), [0, 1], [1.2, 0.2]);
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
