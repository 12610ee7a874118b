//! One sequence: its tokens, how far they are computed, and its blocks.

use std::{cmp::Reverse, sync::Arc};

use exec::{SampleSpec, SampledToken, SeqStep};
use kvcache::BlockTable;
use sampling::Mt19937;
use types::{RequestId, SamplingParams, SeqId, TokenId};

use crate::{Ended, FinishReason, SeqEvent, SeqRequest};

/// The order in which sequences are served: larger priorities first, then the order of arrival. Unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: Reverse<i32>,
    request_id: RequestId,
}

impl Rank {
    pub(crate) fn request_id(self) -> RequestId {
        self.request_id
    }

    /// There is one sequence per request, so that the request's id serves for both.
    pub(crate) fn seq_id(self) -> SeqId {
        SeqId(self.request_id.0)
    }
}

/// A sequence, waiting or running.
pub(crate) struct Sequence {
    pub(crate) rank: Rank,
    /// Prompt and answer so far.
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) num_prompt_tokens: usize,
    /// Tokens whose keys and values lie in the blocks.
    pub(crate) num_computed: usize,
    /// Tokens after those that the next step computes.
    pub(crate) num_scheduled: usize,
    /// Prompt tokens found in the prefix cache at the first admission; `None` before it.
    pub(crate) num_cached: Option<usize>,
    /// Prompt tokens computed so far, not counting what is computed again after a preemption.
    pub(crate) num_prompt_done: usize,
    /// Whether a step has computed some of its tokens.
    pub(crate) has_started: bool,
    pub(crate) table: BlockTable,
    pub(crate) cache_prompt: bool,
    /// Another sequence that computes the same prefix, and how many tokens of it are worth waiting for.
    pub(crate) awaits: Option<(Rank, usize)>,
    params: Arc<SamplingParams>,
    draws: Draws,
    max_tokens: usize,
    stop_token_ids: Vec<TokenId>,
}

/// The uniform numbers of a sequence: one per token, kept until its token arrives, so that a token that has to be
/// scheduled again is drawn with the same number.
struct Draws {
    generator: Box<Mt19937>,
    next: Option<f64>,
}

impl Draws {
    fn next(&mut self) -> f64 {
        let generator = &mut self.generator;
        *self.next.get_or_insert_with(|| generator.uniform())
    }
}

impl Sequence {
    pub(crate) fn new(request: SeqRequest, table: BlockTable) -> Self {
        Self {
            rank: Rank { priority: Reverse(request.priority), request_id: request.request_id },
            num_prompt_tokens: request.prompt.len(),
            tokens: request.prompt,
            num_computed: 0,
            num_scheduled: 0,
            num_cached: None,
            num_prompt_done: 0,
            has_started: false,
            table,
            cache_prompt: request.cache_prompt,
            awaits: None,
            draws: Draws { generator: Box::new(Mt19937::new(request.params.seed)), next: None },
            params: Arc::new(request.params),
            max_tokens: request.max_tokens,
            stop_token_ids: request.stop_token_ids,
        }
    }

    /// Tokens that are neither computed nor scheduled.
    pub(crate) fn num_remaining(&self) -> usize {
        self.tokens.len() - self.num_computed - self.num_scheduled
    }

    /// Whether only the last generated token is to be computed.
    pub(crate) fn is_decode(&self) -> bool {
        self.num_computed >= self.num_prompt_tokens && self.num_computed + 1 == self.tokens.len()
    }

    /// The sequence's part of the next step.
    pub(crate) fn step(&mut self) -> SeqStep {
        let end = self.num_computed + self.num_scheduled;
        SeqStep {
            seq_id: self.rank.seq_id(),
            token_ids: self.tokens[self.num_computed..end].to_vec(),
            num_computed_tokens: self.num_computed,
            block_table: Arc::clone(self.table.blocks()),
            sample: self.samples().then(|| self.sample_spec()),
        }
    }

    /// Whether the next step chooses a token for the sequence.
    pub(crate) fn samples(&self) -> bool {
        self.num_remaining() == 0 && self.max_tokens > 0
    }

    fn sample_spec(&mut self) -> SampleSpec {
        let num_recent = if self.params.has_penalties() { self.params.repeat_last_n as usize } else { 0 };
        SampleSpec {
            params: Arc::clone(&self.params),
            uniform: self.draws.next(),
            recent_tokens: self.tokens[self.tokens.len().saturating_sub(num_recent)..].to_vec(),
            want_logits: false,
        }
    }

    /// Takes the scheduled tokens as computed.
    pub(crate) fn advance(&mut self) {
        self.num_computed += std::mem::take(&mut self.num_scheduled);
        self.table.publish(&self.tokens, self.num_computed);
    }

    /// Takes the token chosen by a step; the sequence ends here if a reason is returned.
    pub(crate) fn push(&mut self, token: &SampledToken, max_model_len: usize) -> Option<FinishReason> {
        self.tokens.push(token.token_id);
        self.draws.next = None;
        if self.stop_token_ids.contains(&token.token_id) {
            Some(FinishReason::EndOfGeneration(token.token_id))
        } else if self.num_generated() >= self.max_tokens {
            Some(FinishReason::Length)
        } else if self.tokens.len() >= max_model_len {
            Some(FinishReason::ContextFull)
        } else {
            None
        }
    }

    /// Whether nothing is left to do: a prompt computed for the cache's sake alone.
    pub(crate) fn is_computed(&self) -> bool {
        self.num_computed == self.tokens.len()
    }

    /// Gives up all blocks for an empty table; the tokens are computed anew later.
    pub(crate) fn restart(&mut self, table: BlockTable) {
        self.table = table;
        self.num_computed = 0;
        self.num_scheduled = 0;
    }

    fn num_generated(&self) -> usize {
        self.tokens.len() - self.num_prompt_tokens
    }

    pub(crate) fn end(&self, reason: FinishReason) -> SeqEvent {
        SeqEvent::Ended(Ended {
            reason,
            num_prompt_tokens: self.num_prompt_tokens,
            num_cached_tokens: self.num_cached.unwrap_or(0),
            num_generated_tokens: self.num_generated(),
        })
    }
}
