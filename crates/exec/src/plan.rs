//! What one step computes and what it gives back.

use std::sync::Arc;

use types::{BlockId, SamplingParams, SeqId, TokenId};

/// One step over a batch of sequences.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// The sequences of the step; each [`SeqId`] occurs at most once.
    pub seqs: Vec<SeqStep>,
    /// Sequences that ended or were preempted since the last step; the executor drops what it keeps for them.
    pub finished: Vec<SeqId>,
}

impl StepPlan {
    /// Tokens computed by the step, over all sequences.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.seqs.iter().map(|s| s.token_ids.len()).sum()
    }
}

/// The part of one sequence in a step.
#[derive(Clone, Debug)]
pub struct SeqStep {
    /// Which sequence this is.
    pub seq_id: SeqId,
    /// The tokens to compute, `1..`; the first has position `num_computed_tokens`.
    pub token_ids: Vec<TokenId>,
    /// Tokens of the sequence whose keys and values already lie in its blocks.
    pub num_computed_tokens: usize,
    /// The sequence's blocks in order; covers `num_computed_tokens + token_ids.len()` positions. Shared with the
    /// scheduler until the table grows, so that a step does not copy it.
    pub block_table: Arc<Vec<BlockId>>,
    /// How to choose the token after the last of `token_ids`; `None` in the middle of a prompt.
    pub sample: Option<SampleSpec>,
}

impl SeqStep {
    /// Length of the sequence once the step is done, in tokens.
    #[must_use]
    pub fn num_tokens_after(&self) -> usize {
        self.num_computed_tokens + self.token_ids.len()
    }
}

/// How to choose the next token of a sequence.
#[derive(Clone, Debug)]
pub struct SampleSpec {
    /// The request's parameters, shared by all its steps.
    pub params: Arc<SamplingParams>,
    /// The draw for this token, uniform in `[0, 1)`, taken from the request's own generator (one per token, always).
    pub uniform: f64,
    /// The last `repeat_last_n` tokens, oldest first; empty when no penalty is active.
    pub recent_tokens: Vec<TokenId>,
    /// Return the raw logits too (golden tests, logits hash of a bench).
    pub want_logits: bool,
}

/// What a step produced.
#[derive(Clone, Debug, Default)]
pub struct StepOutput {
    /// One entry per [`SeqStep`] with a [`SampleSpec`], in the order of the plan.
    pub seqs: Vec<SeqOutput>,
}

/// What a step produced for one sequence.
#[derive(Clone, Debug)]
pub struct SeqOutput {
    /// Which sequence this is.
    pub seq_id: SeqId,
    /// The chosen tokens, in order; one for plain decoding.
    pub tokens: Vec<SampledToken>,
    /// Raw logits `[vocab_size]` where [`SampleSpec::want_logits`] was set.
    pub logits: Option<Vec<f32>>,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledToken {
    /// The token.
    pub token_id: TokenId,
    /// Natural log of its probability under the model (softmax of the raw logits); `NaN` when none was asked for.
    pub logprob: f32,
    /// The most probable tokens with their log probabilities, best first; as many as `num_logprobs` asked for.
    pub top_logprobs: Vec<(TokenId, f32)>,
}
