//! Takes a step's output in.

use exec::{SampledToken, SeqOutput, StepOutput};
use types::{RequestId, SeqId};

use crate::{FinishReason, Scheduler, SeqEvent, sequence::Rank};

/// One sequence of the step that is being computed.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) rank: Rank,
    /// Whether the step chooses a token for it.
    pub(crate) samples: bool,
}

/// The executor broke the boundary's contract.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The output lacks a sequence, has another in its place or too many.
    #[error("the step's output has sequence {found:?} where {expected:?} belongs")]
    WrongSequence {
        /// The sequence of the plan, `None` after its end.
        expected: Option<SeqId>,
        /// The sequence of the output, `None` after its end.
        found: Option<SeqId>,
    },
    /// Not exactly one token was chosen.
    #[error("{num_tokens} tokens were chosen for sequence {seq_id}, one was asked for")]
    WrongCount {
        /// The sequence.
        seq_id: SeqId,
        /// Its tokens.
        num_tokens: usize,
    },
    /// The chosen token does not exist.
    #[error("token {token} was chosen for sequence {seq_id}, the vocabulary has {vocab_size}")]
    WrongToken {
        /// The sequence.
        seq_id: SeqId,
        /// The token's id.
        token: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
}

impl Scheduler {
    /// Takes in the output of the step that was scheduled last, and returns what it means for each request, in the
    /// order of the plan.
    ///
    /// # Errors
    /// [`OutputError`] when the output does not belong to the plan; the state is undefined then and the scheduler of no
    /// further use.
    pub fn apply(&mut self, output: StepOutput) -> Result<Vec<(RequestId, SeqEvent)>, OutputError> {
        let mut outputs = output.seqs.into_iter();
        let in_flight = std::mem::take(&mut self.in_flight);
        let mut events = Vec::with_capacity(in_flight.len());
        for InFlight { rank, samples } in in_flight {
            let token = if samples { Some(self.token_of(rank.seq_id(), outputs.next())?) } else { None };
            // A sequence that was aborted meanwhile is gone.
            if let Ok(idx) = self.running.binary_search_by_key(&rank, |seq| seq.rank) {
                self.advance(idx, token, &mut events);
            }
        }
        match outputs.next() {
            None => Ok(events),
            Some(extra) => Err(OutputError::WrongSequence { expected: None, found: Some(extra.seq_id) }),
        }
    }

    fn token_of(&self, seq_id: SeqId, output: Option<SeqOutput>) -> Result<SampledToken, OutputError> {
        let found = output.as_ref().map(|output| output.seq_id);
        let Some(output) = output.filter(|output| output.seq_id == seq_id) else {
            return Err(OutputError::WrongSequence { expected: Some(seq_id), found });
        };
        let [token] = <[SampledToken; 1]>::try_from(output.tokens)
            .map_err(|tokens| OutputError::WrongCount { seq_id, num_tokens: tokens.len() })?;
        let vocab_size = self.capacity.vocab_size;
        if token.token_id.index() >= vocab_size {
            return Err(OutputError::WrongToken { seq_id, token: token.token_id.0, vocab_size });
        }
        Ok(token)
    }

    /// Moves a sequence on by what was scheduled and the token that was chosen.
    fn advance(&mut self, idx: usize, token: Option<SampledToken>, events: &mut Vec<(RequestId, SeqEvent)>) {
        let max_model_len = self.capacity.max_model_len;
        let seq = &mut self.running[idx];
        let request_id = seq.rank.request_id();
        seq.advance();
        let num_prompt_done = seq.num_computed.min(seq.num_prompt_tokens);
        self.stats.prompt_tokens += num_prompt_done.saturating_sub(seq.num_prompt_done) as u64;
        seq.num_prompt_done = seq.num_prompt_done.max(num_prompt_done);
        let end = match token {
            Some(token) => {
                self.stats.generated_tokens += 1;
                let end = seq.push(&token, max_model_len);
                if !matches!(end, Some(FinishReason::EndOfGeneration(_))) {
                    events.push((request_id, SeqEvent::Token(token)));
                }
                end
            }
            None => seq.is_computed().then_some(FinishReason::Length),
        };
        self.stats.max_seq_tokens = self.stats.max_seq_tokens.max(seq.tokens.len());
        if let Some(reason) = end {
            events.push((request_id, self.remove_running(idx).end(reason)));
        }
    }
}
