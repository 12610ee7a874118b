//! How probable tokens are under the model: log of the softmax of the raw logits.

use types::TokenId;

use crate::{
    Sampler,
    candidate::{best, max},
};

/// Log probabilities, natural, of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// That of the token which was chosen.
    pub chosen: f32,
    /// The most probable tokens, best first; of equal ones the lower id first.
    pub top: Vec<(TokenId, f32)>,
}

impl Sampler {
    /// The log probability of `token` and those of the `top_n` most probable tokens (all if there are fewer) under the
    /// softmax of `logits`, `[vocab_size]`, as the model gave them. A token that has none (outside of the vocabulary,
    /// or the row holds no distribution) has `-inf`.
    pub fn logprobs(&mut self, logits: &[f32], token: TokenId, top_n: usize) -> Logprobs {
        let max = max(logits);
        let weights = logits.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from((logit - max).exp()));
        let log_sum = weights.sum::<f64>().ln();
        let logprob = |logit: f32| {
            let logprob = (f64::from(logit - max) - log_sum) as f32;
            if logprob.is_nan() { f32::NEG_INFINITY } else { logprob }
        };
        best(logits, top_n.min(logits.len()), &mut self.candidates);
        Logprobs {
            chosen: logits.get(token.index()).map_or(f32::NEG_INFINITY, |&logit| logprob(logit)),
            top: self.candidates.iter().map(|candidate| (candidate.id, logprob(candidate.logit))).collect(),
        }
    }
}
