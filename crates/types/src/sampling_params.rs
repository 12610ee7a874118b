//! How the next token of a sequence is chosen.

use crate::TokenId;

/// Parameters of the sampler chain. The defaults are llama-server's.
///
/// The chain runs in this order: logit bias, penalties, top-k, top-p, min-p, temperature, draw.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Softmax temperature; `<= 0` is greedy.
    pub temperature: f32,
    /// Keep the `k` largest logits; `0` keeps all.
    pub top_k: u32,
    /// Keep the smallest set of tokens whose probability reaches this; `>= 1` keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than this share of the best one; `<= 0` keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; `1` is off.
    pub repeat_penalty: f32,
    /// How many recent tokens (prompt included) the three penalties look at; `0` is off.
    pub repeat_last_n: u32,
    /// Subtracted once per occurrence among the recent tokens.
    pub frequency_penalty: f32,
    /// Subtracted once from every recent token.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens; `-inf` bans one.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// The least number of candidates that top-p and min-p leave.
    pub min_keep: u32,
    /// Seed of the request's `mt19937`.
    pub seed: u32,
    /// How many of the most probable tokens are reported with each token; `None` reports no probabilities at all.
    pub num_logprobs: Option<u32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            min_keep: 0,
            seed: 0,
            num_logprobs: None,
        }
    }
}

impl SamplingParams {
    /// Parameters that always take the most probable token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Whether any of the three penalties changes a logit.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        self.repeat_last_n > 0
            && (self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0)
    }
}
