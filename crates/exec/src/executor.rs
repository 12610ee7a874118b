//! The trait that every backend implements.

use types::{InputSums, KvPools};

use crate::{StepOutput, StepPlan};

/// What an executor can hold, fixed once it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The pools of KV blocks.
    pub pools: KvPools,
    /// Sequences in one step at most.
    pub max_num_seqs: usize,
    /// Tokens in one step at most, over all sequences.
    pub max_num_batched_tokens: usize,
    /// Tokens in one sequence at most (prompt and answer).
    pub max_model_len: usize,
    /// Size of the vocabulary: token ids are below it.
    pub vocab_size: usize,
    /// Elements of a hidden state; 0 where the executor gives none back.
    pub hidden_size: usize,
    /// What the model can be asked for.
    pub kind: ModelKind,
}

/// What a model can be asked for, and what its tokens see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A token sees those before it. The model chooses tokens; its hidden states can be had too.
    Decoder,
    /// All tokens of a sequence see each other, so that one step has them all. The model gives hidden states alone.
    Encoder,
}

impl Capacity {
    /// The longest prompt of which hidden states can be had, in tokens. (One that is to be continued leaves room for a
    /// token.)
    #[must_use]
    pub fn max_embedded_tokens(&self) -> usize {
        match self.kind {
            ModelKind::Decoder => self.max_model_len,
            ModelKind::Encoder => self.max_model_len.min(self.max_num_batched_tokens),
        }
    }
}

/// A launched step, to be handed back to [`Executor::collect`].
#[derive(Debug)]
#[must_use = "a launched step must be collected"]
pub struct Ticket(pub u64);

/// Why a step could not be computed. The engine fails the step's requests and stops.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The plan breaks the boundary's contract; a bug above this crate.
    #[error("invalid step plan: {0}")]
    InvalidPlan(String),
    /// The device failed.
    #[error("device error: {0}")]
    Device(String),
}

/// The time of one stage of a step, over all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// The stage's name; `step` is all of them together.
    pub stage: &'static str,
    /// Microseconds.
    pub micros: f64,
    /// Bytes of weights and of keys and values that it reads.
    pub bytes: usize,
}

/// Computes steps. Implementations own the weights, the KV blocks and the device.
///
/// A step is launched and collected in two calls, so that the caller can work while the device computes. Tickets are
/// collected in the order of their launch, and steps take effect in that order: a plan may use keys and values that the
/// steps before it write, and give their blocks to other sequences.
pub trait Executor: Send {
    /// What the executor can hold.
    fn capacity(&self) -> Capacity;

    /// Steps that may be launched and not yet collected: 2, so that the device has the next one at hand when it is done
    /// with one, or 1, where `launch` does the work.
    fn max_steps_in_flight(&self) -> usize {
        1
    }

    /// Starts a step. Waits for the step in flight where it must: when that leaves a choice to the host.
    ///
    /// # Errors
    /// [`ExecError::InvalidPlan`] when the plan exceeds the capacity, names a block outside the pool, or a row that the
    /// step in flight does not have;
    /// [`ExecError::Device`] when the device refuses the work.
    fn launch(&mut self, plan: StepPlan) -> Result<Ticket, ExecError>;

    /// Waits for a step and returns the tokens it chose.
    ///
    /// # Errors
    /// [`ExecError::Device`] when the device failed during the step.
    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecError>;

    /// Times the stages of a step in which `num_seqs` sequences decode a token at position `context`; what the KV
    /// blocks hold is lost. `None` where the executor cannot tell its stages apart.
    ///
    /// # Errors
    /// [`ExecError::Device`] when the step does not fit or the device failed.
    fn profile(&mut self, num_seqs: usize, context: usize) -> Result<Option<Vec<StageTime>>, ExecError> {
        let _ = (num_seqs, context);
        Ok(None)
    }

    /// Sums the squares of what matrices are multiplied with from the next step on; steps become slower.
    ///
    /// # Errors
    /// [`ExecError::Device`] when there is no room for the sums.
    fn observe_inputs(&mut self) -> Result<(), ExecError> {
        Ok(())
    }

    /// What was summed since [`Self::observe_inputs`] or the last call. `None` where the executor observes nothing. No step
    /// may be in flight.
    ///
    /// # Errors
    /// [`ExecError::Device`] when the device failed.
    fn take_input_sums(&mut self) -> Result<Option<InputSums>, ExecError> {
        Ok(None)
    }
}
