//! The cuts (top-p, min-p), the temperature and the draw, over candidates; there is always one at least.
//!
//! The sums of top-p are single precision and those of the draw double, each in the order of the candidates: as in
//! llama.cpp, since another rounding would choose another token now and then.

use types::{SamplingParams, TokenId};

use crate::candidate::{Candidate, sort};

/// The denominator of a softmax over logits whose maximum is `max`, summed in their order.
pub(crate) fn softmax_sum(logits: impl IntoIterator<Item = f32>, max: f32) -> f32 {
    logits.into_iter().fold(0.0, |sum, logit| sum + (logit - max).exp())
}

/// How many of the best candidates (sorted) top-p keeps, `sum` being the softmax denominator of the whole row; `None`
/// when all of them together do not reach `top_p`.
pub(crate) fn top_p_len(sorted: &[Candidate], sum: f32, params: &SamplingParams) -> Option<usize> {
    let max = sorted[0].logit;
    let mut reached = 0.0;
    let enough = sorted.iter().enumerate().position(|(i, candidate)| {
        reached += (candidate.logit - max).exp() / sum;
        reached >= params.top_p && i + 1 >= params.min_keep as usize
    });
    enough.map(|i| i + 1)
}

/// Drops what is less probable than `min_p` times the best. Candidates that are not sorted stay in their order unless
/// fewer than `min_keep` are left.
pub(crate) fn min_p(candidates: &mut Vec<Candidate>, is_sorted: bool, params: &SamplingParams) {
    if params.min_p <= 0.0 {
        return;
    }
    let min_keep = (params.min_keep as usize).max(1);
    let least = top(candidates).logit + params.min_p.ln();
    if !is_sorted {
        let num_kept = candidates.iter().filter(|candidate| candidate.logit >= least).count();
        if num_kept >= min_keep {
            return candidates.retain(|candidate| candidate.logit >= least);
        }
        sort(candidates);
    }
    let end = candidates.iter().skip(min_keep).position(|candidate| candidate.logit < least);
    candidates.truncate(end.map_or(candidates.len(), |after| min_keep + after));
}

/// The first candidate at which the running sum of the probabilities reaches `uniform`, in `[0, 1)`, of the whole.
/// Without a usable distribution (infinite logits) the best one. `weights` is scratch memory.
pub(crate) fn draw(candidates: &[Candidate], temperature: f32, uniform: f64, weights: &mut Vec<f32>) -> TokenId {
    let top = top(candidates);
    let max = top.logit / temperature;
    weights.clear();
    weights.extend(candidates.iter().map(|candidate| (candidate.logit / temperature - max).exp()));
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let target = sum * uniform;
    let mut running = 0.0;
    let chosen = weights.iter().position(|&weight| {
        running += f64::from(weight);
        // A draw of 0 must not choose an impossible token that happens to come first.
        running >= target && running > 0.0
    });
    chosen.map_or(top.id, |i| candidates[i].id)
}

/// The candidate with the largest logit; of equal ones the first. There must be one.
fn top(candidates: &[Candidate]) -> Candidate {
    candidates.iter().fold(candidates[0], |top, other| if other.logit > top.logit { *other } else { top })
}
