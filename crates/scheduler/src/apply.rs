//! Takes a step's output in.

use exec::{SampledToken, SeqOutput, StepOutput};
use types::{RequestId, SeqId};

use crate::{FinishReason, Scheduler, SeqEvent, sequence::Rank};

/// One sequence of a step that is being computed.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) rank: Rank,
    pub(crate) outcome: Outcome,
}

/// What a step gives a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A part of its prompt.
    Chunk,
    /// The end of its prompt, with no token asked for.
    End,
    /// A token.
    Token,
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
    /// Takes in the output of the oldest step in flight, and returns what it means for each request, in the order of
    /// the plan.
    ///
    /// # Errors
    /// [`OutputError`] when the output does not belong to the plan; the state is undefined then and the scheduler of no
    /// further use.
    ///
    /// # Panics
    /// When no step is in flight.
    pub fn apply(&mut self, output: StepOutput) -> Result<Vec<(RequestId, SeqEvent)>, OutputError> {
        let mut outputs = output.seqs.into_iter();
        let step = self.in_flight.pop_front().expect("an output belongs to a step in flight");
        let mut events = Vec::with_capacity(step.len());
        for InFlight { rank, outcome } in step {
            match outcome {
                Outcome::Chunk => {}
                Outcome::End => events.extend(self.end(rank, FinishReason::Length)),
                Outcome::Token => {
                    let token = self.token_of(rank.seq_id(), outputs.next())?;
                    self.push(rank, token, &mut events);
                }
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

    /// Gives a sequence its next token. One that was aborted meanwhile, or ended in the step before, is gone; one that
    /// was preempted waits.
    fn push(&mut self, rank: Rank, token: SampledToken, events: &mut Vec<(RequestId, SeqEvent)>) {
        let seq = match self.running.binary_search_by_key(&rank, |seq| seq.rank) {
            Ok(idx) => &mut self.running[idx],
            Err(_) => match self.waiting.get_mut(&rank) {
                Some(seq) => seq,
                None => return,
            },
        };
        let end = seq.push(&token);
        self.stats.generated_tokens += 1;
        self.stats.max_seq_tokens = self.stats.max_seq_tokens.max(seq.tokens.len());
        if !matches!(end, Some(FinishReason::EndOfGeneration(_))) {
            events.push((rank.request_id(), SeqEvent::Token(token)));
        }
        events.extend(end.and_then(|reason| self.end(rank, reason)));
    }

    /// Ends a sequence; `None` where it has ended before.
    fn end(&mut self, rank: Rank, reason: FinishReason) -> Option<(RequestId, SeqEvent)> {
        let seq = match self.running.binary_search_by_key(&rank, |seq| seq.rank) {
            Ok(idx) => self.remove_running(idx),
            Err(_) => self.waiting.remove(&rank)?,
        };
        Some((rank.request_id(), seq.end(reason)))
    }
}
