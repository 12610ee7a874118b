//! Takes a step's output in.

use exec::{HiddenOutput, SampledToken, SeqOutput, StepOutput};
use types::{RequestId, SeqId};

use crate::{
    FinishReason, Scheduler, SeqEvent,
    sequence::{Rank, Sequence},
};

/// One sequence of a step that is being computed.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) rank: Rank,
    pub(crate) outcome: Outcome,
    /// Whether nothing is left to do for it then: its prompt is computed, with no token asked for.
    pub(crate) is_end: bool,
    /// How often it had started over by then.
    pub(crate) num_restarts: u32,
}

/// What a step gives a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Keys and values.
    Nothing,
    /// A token.
    Token,
    /// So many rows of hidden states.
    Hidden { num_rows: usize },
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
    /// Hidden states of another size than they have.
    #[error("{num_values} hidden values were given for sequence {seq_id}, {expected} belong there")]
    WrongSize {
        /// The sequence.
        seq_id: SeqId,
        /// Values of all rows.
        num_values: usize,
        /// Those that were asked for.
        expected: usize,
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
        let (mut tokens, mut hidden) = (output.seqs.into_iter(), output.hidden.into_iter());
        let step = self.in_flight.pop_front().expect("an output belongs to a step in flight");
        let mut events = Vec::with_capacity(step.len());
        for part in step {
            let seq_id = part.rank.seq_id();
            match part.outcome {
                Outcome::Nothing => {}
                Outcome::Token => {
                    let token = self.token_of(seq_id, tokens.next())?;
                    self.push(part.rank, token, &mut events);
                }
                Outcome::Hidden { num_rows } => {
                    let values = self.hidden_of(seq_id, hidden.next(), num_rows)?;
                    self.push_hidden(&part, values);
                }
            }
            if part.is_end {
                self.finish_prompt(&part, &mut events);
            }
        }
        match tokens.next().map(|extra| extra.seq_id).or_else(|| hidden.next().map(|extra| extra.seq_id)) {
            None => Ok(events),
            Some(found) => Err(OutputError::WrongSequence { expected: None, found: Some(found) }),
        }
    }

    fn hidden_of(&self, seq_id: SeqId, output: Option<HiddenOutput>, num_rows: usize) -> Result<Vec<f32>, OutputError> {
        let found = output.as_ref().map(|output| output.seq_id);
        let Some(output) = output.filter(|output| output.seq_id == seq_id) else {
            return Err(OutputError::WrongSequence { expected: Some(seq_id), found });
        };
        let (num_values, expected) = (output.values.len(), num_rows * self.capacity.hidden_size);
        if num_values == expected {
            Ok(output.values)
        } else {
            Err(OutputError::WrongSize { seq_id, num_values, expected })
        }
    }

    /// Gives a sequence hidden states, unless it is gone or has started over since: then they come again.
    fn push_hidden(&mut self, part: &InFlight, values: Vec<f32>) {
        if let Some(seq) = self.find(part.rank).filter(|seq| seq.num_restarts == part.num_restarts) {
            seq.push_hidden(values);
        }
    }

    /// Ends a sequence that asked for no token.
    fn finish_prompt(&mut self, part: &InFlight, events: &mut Vec<(RequestId, SeqEvent)>) {
        let Some(seq) = self.find(part.rank) else { return };
        if seq.is_embedding() {
            if seq.num_restarts != part.num_restarts {
                return;
            }
            let num_tokens = seq.tokens.len();
            events.extend(seq.finish_embedding().map(|values| (part.rank.request_id(), SeqEvent::Embedding(values))));
            self.stats.max_seq_tokens = self.stats.max_seq_tokens.max(num_tokens);
        }
        events.extend(self.end(part.rank, FinishReason::Length));
    }

    /// A sequence that runs, or waits because it was preempted. One that was aborted, or has ended, is gone.
    fn find(&mut self, rank: Rank) -> Option<&mut Sequence> {
        match self.running.binary_search_by_key(&rank, |seq| seq.rank) {
            Ok(idx) => Some(&mut self.running[idx]),
            Err(_) => self.waiting.get_mut(&rank),
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

    /// Gives a sequence its next token.
    fn push(&mut self, rank: Rank, token: SampledToken, events: &mut Vec<(RequestId, SeqEvent)>) {
        let Some(seq) = self.find(rank) else { return };
        let end = seq.push(&token);
        let num_tokens = seq.tokens.len();
        self.stats.generated_tokens += 1;
        self.stats.max_seq_tokens = self.stats.max_seq_tokens.max(num_tokens);
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
