//! One sequence: its tokens, how far they are computed, and its blocks.

use std::{cmp::Reverse, sync::Arc};

use exec::{SampledToken, SeqStep, StepTokens, Wanted};
use kvcache::BlockTable;
use types::{RequestId, SeqId, TokenId};

use crate::{Ended, FinishReason, SeqEvent, SeqRequest, goal::Goal};

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
    /// Tokens after those that the steps in flight choose: one each at most.
    num_awaited: usize,
    /// The row of the last of them in its step.
    awaited_row: usize,
    pub(crate) num_prompt_tokens: usize,
    /// Tokens whose keys and values lie in the blocks once the steps in flight are done.
    pub(crate) num_computed: usize,
    /// Tokens after those that the step that is being put together computes.
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
    /// How often it was preempted.
    pub(crate) num_restarts: u32,
    goal: Goal,
    /// Tokens, prompt and answer, beyond which it cannot grow: by `max_tokens` or the context.
    max_len: usize,
}

impl Sequence {
    pub(crate) fn new(request: SeqRequest, table: BlockTable, max_model_len: usize) -> Self {
        let goal = Goal::new(request.task);
        Self {
            rank: Rank { priority: Reverse(request.priority), request_id: request.request_id },
            num_prompt_tokens: request.prompt.len(),
            max_len: max_model_len.min(request.prompt.len().saturating_add(goal.max_tokens())),
            tokens: request.prompt,
            num_awaited: 0,
            awaited_row: 0,
            num_computed: 0,
            num_scheduled: 0,
            num_cached: None,
            num_prompt_done: 0,
            has_started: false,
            table,
            cache_prompt: request.cache_prompt,
            awaits: None,
            num_restarts: 0,
            goal,
        }
    }

    /// Tokens known and awaited.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len() + self.num_awaited
    }

    /// Tokens that are neither computed nor scheduled. One that is awaited and ends the answer will not be computed.
    pub(crate) fn num_remaining(&self) -> usize {
        let end = if self.len() < self.max_len { self.len() } else { self.tokens.len() };
        end.saturating_sub(self.num_computed + self.num_scheduled)
    }

    /// Whether only the last generated token is to be computed.
    pub(crate) fn is_decode(&self) -> bool {
        self.num_computed >= self.num_prompt_tokens && self.num_computed + 1 == self.len()
    }

    /// Whether the next token cannot be chosen before those in flight are known.
    pub(crate) fn needs_history(&self) -> bool {
        self.num_awaited > 0 && self.goal.has_penalties() && self.num_remaining() > 0
    }

    /// The sequence's part of the next step, in which it gets the row `row` if it samples. What was scheduled counts as
    /// computed from here on, since steps take effect in their order.
    pub(crate) fn step(&mut self, row: usize) -> SeqStep {
        let (start, end) = (self.num_computed, self.num_computed + self.num_scheduled);
        let wanted = self.wanted(start, end);
        let samples = matches!(wanted, Wanted::Token(_));
        let tokens = if end <= self.tokens.len() {
            StepTokens::Known(self.tokens[start..end].to_vec())
        } else {
            StepTokens::Chosen { row: self.awaited_row }
        };
        let step = SeqStep {
            seq_id: self.rank.seq_id(),
            tokens,
            num_computed_tokens: start,
            block_tables: Arc::clone(self.table.blocks()),
            wanted,
        };
        (self.num_computed, self.num_scheduled) = (end, 0);
        if samples {
            self.num_awaited += 1;
            self.awaited_row = row;
        }
        self.publish();
        step
    }

    /// What a step over the tokens `start..end` is to give, once they are scheduled.
    fn wanted(&mut self, start: usize, end: usize) -> Wanted {
        let is_last = self.num_remaining() == 0;
        match &mut self.goal {
            Goal::Generate(generating) if is_last && generating.max_tokens > 0 => {
                Wanted::Token(generating.sample_spec(&self.tokens))
            }
            Goal::Generate(_) => Wanted::Nothing,
            Goal::Embed(embedding) => {
                embedding.wanted((start, end), self.tokens.len()).map_or(Wanted::Nothing, Wanted::Hidden)
            }
        }
    }

    /// How many tokens of the prompt are computed for the first time, when `num_computed` tokens are.
    pub(crate) fn count_prompt(&mut self, num_computed: usize) -> usize {
        let before = self.num_prompt_done;
        self.num_prompt_done = before.max(num_computed.min(self.num_prompt_tokens));
        self.num_prompt_done - before
    }

    /// Makes the blocks known whose tokens are known and computed.
    fn publish(&mut self) {
        self.table.publish(&self.tokens, self.num_computed.min(self.tokens.len()));
    }

    /// Takes the token chosen by a step; the sequence ends here if a reason is returned.
    pub(crate) fn push(&mut self, token: &SampledToken) -> Option<FinishReason> {
        self.num_awaited -= 1;
        self.tokens.push(token.token_id);
        self.publish();
        let Goal::Generate(generating) = &self.goal else { unreachable!("it was asked for a token") };
        let is_full = self.tokens.len() >= self.max_len;
        let reason = generating.reason_to_end(token.token_id, self.num_generated());
        reason.or(is_full.then_some(FinishReason::ContextFull))
    }

    pub(crate) fn is_embedding(&self) -> bool {
        matches!(self.goal, Goal::Embed(_))
    }

    /// Takes the hidden states that a step gave.
    pub(crate) fn push_hidden(&mut self, values: Vec<f32>) {
        if let Goal::Embed(embedding) = &mut self.goal {
            embedding.push(values);
        }
    }

    /// The prompt's vector, once all of it is computed.
    pub(crate) fn finish_embedding(&mut self) -> Option<Vec<f32>> {
        let Goal::Embed(embedding) = &mut self.goal else { return None };
        Some(embedding.finish(self.tokens.len()))
    }

    /// Whether nothing is left to do once the steps in flight are done: a prompt computed for the cache's sake alone.
    pub(crate) fn is_computed(&self) -> bool {
        self.num_computed == self.tokens.len() && self.goal.max_tokens() == 0
    }

    /// Gives up all blocks for an empty table; the tokens are computed anew later.
    pub(crate) fn restart(&mut self, table: BlockTable) {
        self.table = table;
        self.num_computed = 0;
        self.num_scheduled = 0;
        if let Goal::Embed(embedding) = &mut self.goal {
            embedding.restart();
        }
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
