//! The chain from end to end: from a row of logits to a token.

use types::{SamplingParams, TokenId};

use crate::{
    adjust::{adjust, changes},
    candidate::{Candidate, argmax, best, max},
    chain::{draw, min_p, softmax_sum, top_p_len},
};

/// Candidates that top-p looks at first when no top-k came before it; mostly they suffice, and a full sort is spared.
const FIRST_LOOK: usize = 256;

/// Samples one row after another; holds scratch memory only, so that every thread can have its own.
#[derive(Debug, Default)]
pub struct Sampler {
    /// The row after bias and penalties, `[vocab_size]`; not used where neither applies.
    adjusted: Vec<f32>,
    /// Recent tokens, sorted.
    recent: Vec<TokenId>,
    /// What is left of the row.
    pub(crate) candidates: Vec<Candidate>,
    /// The probabilities of the candidates, before their division by the sum.
    weights: Vec<f32>,
}

impl Sampler {
    /// A sampler whose scratch memory is empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a token from `logits`, `[vocab_size]`, as the model gave them.
    ///
    /// The stages: logit bias; penalties over the last `repeat_last_n` of `recent_tokens` (oldest first); without a
    /// positive temperature the largest logit, else top-k (best first, of equal logits the lower id); top-p; min-p;
    /// division by the temperature; the first candidate at which the running sum of the probabilities reaches
    /// `uniform` of the whole. Where neither top-k nor top-p cuts, candidates stay in the order of their ids.
    ///
    /// A NaN among the logits is never chosen; if the row has no number above `-inf`, token 0 is.
    ///
    /// # Panics
    /// When `logits` is empty.
    pub fn choose(
        &mut self,
        logits: &[f32],
        params: &SamplingParams,
        recent_tokens: &[TokenId],
        uniform: f64,
    ) -> TokenId {
        assert!(!logits.is_empty(), "a row of 0 logits has no token to choose");
        if !changes(params, recent_tokens) {
            return self.choose_adjusted(logits, params, uniform);
        }
        let mut adjusted = std::mem::take(&mut self.adjusted);
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        adjust(&mut adjusted, params, recent_tokens, &mut self.recent);
        let token = self.choose_adjusted(&adjusted, params, uniform);
        self.adjusted = adjusted;
        token
    }

    /// The end of [`Self::choose`] for a device that did its beginning: `best` are the `top_k` (not 0) best tokens with
    /// their logits after bias and penalties, sorted as top-k does.
    ///
    /// # Panics
    /// When `best` is empty.
    pub fn choose_among(
        &mut self,
        best: impl IntoIterator<Item = (TokenId, f32)>,
        params: &SamplingParams,
        uniform: f64,
    ) -> TokenId {
        self.candidates.clear();
        self.candidates.extend(best.into_iter().map(|(id, logit)| Candidate::new(id, logit)));
        assert!(!self.candidates.is_empty(), "0 candidates leave no token to choose");
        if is_greedy(params) {
            return self.candidates[0].id;
        }
        self.cut_best(params);
        min_p(&mut self.candidates, true, params);
        draw(&self.candidates, params.temperature, uniform, &mut self.weights)
    }

    fn choose_adjusted(&mut self, logits: &[f32], params: &SamplingParams, uniform: f64) -> TokenId {
        if is_greedy(params) {
            return argmax(logits);
        }
        let is_sorted = params.top_k > 0 || params.top_p < 1.0;
        if params.top_k > 0 {
            best(logits, logits.len().min(params.top_k as usize), &mut self.candidates);
            self.cut_best(params);
        } else if params.top_p < 1.0 {
            self.top_p_of_all(logits, params);
        } else {
            self.candidates.clear();
            let all = logits.iter().enumerate().map(|(id, &logit)| Candidate::new(TokenId(id as u32), logit));
            self.candidates.extend(all);
        }
        min_p(&mut self.candidates, is_sorted, params);
        draw(&self.candidates, params.temperature, uniform, &mut self.weights)
    }

    /// Top-p over the candidates of top-k.
    fn cut_best(&mut self, params: &SamplingParams) {
        if params.top_p < 1.0 {
            let sum = softmax_sum(self.candidates.iter().map(|candidate| candidate.logit), self.candidates[0].logit);
            let len = top_p_len(&self.candidates, sum, params);
            self.candidates.truncate(len.unwrap_or(self.candidates.len()));
        }
    }

    /// Top-p over the whole row: sorts as many of the best as it takes.
    fn top_p_of_all(&mut self, logits: &[f32], params: &SamplingParams) {
        let sum = softmax_sum(logits.iter().copied().filter(|logit| !logit.is_nan()), max(logits));
        let mut num_sorted = FIRST_LOOK;
        loop {
            best(logits, logits.len().min(num_sorted), &mut self.candidates);
            if let Some(len) = top_p_len(&self.candidates, sum, params) {
                return self.candidates.truncate(len);
            }
            if num_sorted >= logits.len() {
                return;
            }
            num_sorted = num_sorted.saturating_mul(16);
        }
    }
}

/// Whether the largest logit wins; a temperature that is no number leaves nothing else to do.
fn is_greedy(params: &SamplingParams) -> bool {
    params.temperature <= 0.0 || params.temperature.is_nan()
}
