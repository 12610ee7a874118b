//! What becomes of a sequence once its prompt is computed: an answer, or a vector.

use std::sync::Arc;

use exec::{HiddenRows, SampleSpec};
use sampling::Mt19937;
use types::{Pooling, SamplingParams, TokenId};

use crate::{FinishReason, Generation, Task};

/// A task under way.
pub(crate) enum Goal {
    Generate(Generating),
    Embed(Embedding),
}

impl Goal {
    pub(crate) fn new(task: Task) -> Self {
        match task {
            Task::Generate(generation) => Self::Generate(Generating::new(generation)),
            Task::Embed(pooling) => Self::Embed(Embedding { pooling, values: Vec::new() }),
        }
    }

    /// Tokens to generate at most.
    pub(crate) fn max_tokens(&self) -> usize {
        match self {
            Self::Generate(generating) => generating.max_tokens,
            Self::Embed(_) => 0,
        }
    }

    pub(crate) fn has_penalties(&self) -> bool {
        matches!(self, Self::Generate(generating) if generating.params.has_penalties())
    }
}

/// An answer in the making.
pub(crate) struct Generating {
    params: Arc<SamplingParams>,
    /// Gives a uniform number for each token.
    generator: Box<Mt19937>,
    pub(crate) max_tokens: usize,
    stop_token_ids: Vec<TokenId>,
}

impl Generating {
    fn new(Generation { params, max_tokens, stop_token_ids }: Generation) -> Self {
        let generator = Box::new(Mt19937::new(params.seed));
        Self { params: Arc::new(params), generator, max_tokens, stop_token_ids }
    }

    /// How to choose the token behind these.
    pub(crate) fn sample_spec(&mut self, tokens: &[TokenId]) -> SampleSpec {
        let num_recent = if self.params.has_penalties() { self.params.repeat_last_n as usize } else { 0 };
        SampleSpec {
            params: Arc::clone(&self.params),
            uniform: self.generator.uniform(),
            recent_tokens: tokens[tokens.len().saturating_sub(num_recent)..].to_vec(),
            want_logits: false,
        }
    }

    /// Whether the answer ends with this token, the last of so many.
    pub(crate) fn reason_to_end(&self, token: TokenId, num_generated: usize) -> Option<FinishReason> {
        if self.stop_token_ids.contains(&token) {
            Some(FinishReason::EndOfGeneration(token))
        } else if num_generated >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }
}

/// Hidden states on their way to a vector.
pub(crate) struct Embedding {
    pooling: Pooling,
    /// All rows so far, their sum, or the one that counts.
    values: Vec<f32>,
}

impl Embedding {
    /// What a step over the tokens `start..end` of a prompt of `len` is to give.
    pub(crate) fn wanted(&self, (start, end): (usize, usize), len: usize) -> Option<HiddenRows> {
        match self.pooling {
            Pooling::None => Some(HiddenRows::All),
            Pooling::Mean => Some(HiddenRows::Sum),
            Pooling::Cls => (start == 0).then_some(HiddenRows::First),
            Pooling::Last => (end == len).then_some(HiddenRows::Last),
        }
    }

    /// Takes what a step gave, `[HiddenRows::count, hidden_size]`.
    pub(crate) fn push(&mut self, values: Vec<f32>) {
        if self.pooling == Pooling::Mean && !self.values.is_empty() {
            self.values.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
        } else if self.values.is_empty() {
            self.values = values;
        } else {
            self.values.extend(values);
        }
    }

    /// Forgets what it has: the prompt is computed anew.
    pub(crate) fn restart(&mut self) {
        self.values.clear();
    }

    /// The vector of a prompt of so many tokens, or those of its tokens one after the other.
    pub(crate) fn finish(&mut self, num_tokens: usize) -> Vec<f32> {
        let mut values = std::mem::take(&mut self.values);
        if self.pooling == Pooling::Mean {
            values.iter_mut().for_each(|x| *x /= num_tokens as f32);
        }
        values
    }
}
