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
        self.seqs.iter().map(|s| s.tokens.len()).sum()
    }

    /// The sequences for which the step chooses a token, in the order of its rows.
    pub fn sampled(&self) -> impl Iterator<Item = (SeqId, &SampleSpec)> {
        self.seqs.iter().filter_map(|seq| Some((seq.seq_id, seq.wanted.sample()?)))
    }

    /// Whether hidden states of any sequence are wanted.
    #[must_use]
    pub fn wants_hidden(&self) -> bool {
        self.seqs.iter().any(|seq| matches!(seq.wanted, Wanted::Hidden(_)))
    }

    /// Puts the tokens that the step before chose where the plan only names their rows.
    ///
    /// # Panics
    /// When the output lacks such a row: [`Self::validate`] has checked the plan against that step.
    pub fn resolve(&mut self, previous: &StepOutput) {
        for seq in &mut self.seqs {
            if let StepTokens::Chosen { row } = seq.tokens {
                seq.tokens = StepTokens::Known(previous.seqs[row].tokens.iter().map(|token| token.token_id).collect());
            }
        }
    }
}

/// The tokens of a sequence that a step computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepTokens {
    /// These, `1..`.
    Known(Vec<TokenId>),
    /// One: the token that the step in flight chooses in this row. Rows are counted over the sequences for which a step
    /// chooses one, see [`StepPlan::sampled`]; the row is one of the same sequence.
    Chosen {
        /// The row.
        row: usize,
    },
}

impl StepTokens {
    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a valid step has at least one")]
    pub fn len(&self) -> usize {
        match self {
            Self::Known(token_ids) => token_ids.len(),
            Self::Chosen { .. } => 1,
        }
    }
}

impl FromIterator<TokenId> for StepTokens {
    fn from_iter<I: IntoIterator<Item = TokenId>>(token_ids: I) -> Self {
        Self::Known(token_ids.into_iter().collect())
    }
}

/// The part of one sequence in a step.
#[derive(Clone, Debug)]
pub struct SeqStep {
    /// Which sequence this is.
    pub seq_id: SeqId,
    /// The tokens to compute; the first has position `num_computed_tokens`.
    pub tokens: StepTokens,
    /// Tokens of the sequence whose keys and values lie in its blocks once the steps launched before are done.
    pub num_computed_tokens: usize,
    /// The sequence's blocks in order, of each pool; cover `num_computed_tokens + tokens.len()` positions. Blocks out of
    /// sight of all tokens to compute are [`BlockId::NULL`]. Shared with the scheduler until the tables change, so that
    /// a step does not copy them.
    pub block_tables: Arc<Vec<Vec<BlockId>>>,
    /// What the step gives back for the sequence.
    pub wanted: Wanted,
}

impl SeqStep {
    /// Length of the sequence once the step is done, in tokens.
    #[must_use]
    pub fn num_tokens_after(&self) -> usize {
        self.num_computed_tokens + self.tokens.len()
    }
}

/// What a step gives back for a sequence.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Nothing: in the middle of a prompt.
    Nothing,
    /// The token after the last of the step's tokens, chosen so.
    Token(SampleSpec),
    /// Hidden states of the step's tokens: what the output matrix would be multiplied with, after the final norm, where
    /// the model has either. Not scaled as logits are.
    Hidden(HiddenRows),
}

impl Wanted {
    /// How to choose a token, where one is wanted.
    #[must_use]
    pub fn sample(&self) -> Option<&SampleSpec> {
        if let Self::Token(sample) = self { Some(sample) } else { None }
    }
}

/// Which hidden states of a step's tokens, `[tokens, hidden_size]`, are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenRows {
    /// Each of them.
    All,
    /// One row: their sum in single precision.
    Sum,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
}

impl HiddenRows {
    /// How many rows come of so many tokens.
    #[must_use]
    pub fn count(self, num_tokens: usize) -> usize {
        if self == Self::All { num_tokens } else { 1 }
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
    /// One entry per [`SeqStep`] that wants a token, in the order of the plan.
    pub seqs: Vec<SeqOutput>,
    /// One entry per [`SeqStep`] that wants hidden states, in the order of the plan.
    pub hidden: Vec<HiddenOutput>,
}

/// The hidden states of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct HiddenOutput {
    /// Which sequence this is.
    pub seq_id: SeqId,
    /// The wanted rows one after the other, `[HiddenRows::count, hidden_size]`.
    pub values: Vec<f32>,
}

/// The token that a step chose for one sequence.
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
