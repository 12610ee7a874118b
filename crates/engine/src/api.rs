//! What crosses the engine's boundary.

use std::time::{Duration, Instant};

use exec::SampledToken;
use scheduler::{FinishReason, Task};
use types::TokenId;

/// A validated, tokenized, bounded request for one sequence.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, `1..max_model_len` tokens (at least one position is left for an answer), or up to
    /// [`exec::Capacity::max_embedded_tokens`] where there is none.
    pub prompt: Vec<TokenId>,
    /// What is to be made of it.
    pub task: Task,
    /// Larger runs first; equal priorities run in order of arrival.
    pub priority: i32,
    /// Whether the prompt's blocks may be taken from, and left in, the prefix cache.
    pub cache_prompt: bool,
    /// When the request fails if it has not ended.
    pub deadline: Option<Instant>,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Event {
    /// The next token of the answer. A token that ends generation is not sent; it shows in [`Finished`].
    Token(SampledToken),
    /// The prompt's vector, `[hidden_size]`, or its tokens' one after the other, `[num_prompt_tokens, hidden_size]`. Not
    /// normalized. Only the end follows.
    Embedding(Vec<f32>),
    /// The answer is complete. The last event.
    Finished(Finished),
    /// The request could not be completed. The last event.
    Failed(FailReason),
}

/// The end of an answer and its figures.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub num_prompt_tokens: usize,
    /// Those of them that the prefix cache already held.
    pub num_cached_tokens: usize,
    /// Tokens generated, an ending token included.
    pub num_generated_tokens: usize,
    /// From submission to the first step.
    pub queue_time: Duration,
    /// From the first step to the first token.
    pub prefill_time: Duration,
    /// From the first token to the last.
    pub decode_time: Duration,
}

/// Why a request failed after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailReason {
    /// Its deadline passed.
    #[error("the request's deadline passed")]
    DeadlineExceeded,
    /// The engine is shutting down and its drain deadline passed.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The executor failed while the request ran or waited; the engine has stopped.
    #[error("the executor failed: {0}")]
    Executor(String),
}

/// Why a request was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many requests run and wait as the engine takes; try again later.
    #[error("the queue is full ({limit} requests run or wait)")]
    QueueFull {
        /// Requests that may run and wait together: the executor's sequences and [`crate::EngineConfig::max_waiting`].
        limit: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {num_prompt_tokens} tokens, prompt and answer together may have {max_model_len}")]
    PromptTooLong {
        /// Tokens of the prompt.
        num_prompt_tokens: usize,
        /// Tokens that one sequence may have.
        max_model_len: usize,
    },
    /// An encoder has all tokens of a prompt in one step.
    #[error("the prompt has {num_prompt_tokens} tokens, one step takes {max_num_batched_tokens}")]
    PromptBeyondStep {
        /// Tokens of the prompt.
        num_prompt_tokens: usize,
        /// Tokens that one step may have.
        max_num_batched_tokens: usize,
    },
    /// The model, or the executor, cannot do what is asked.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The prompt is empty or names a token outside the vocabulary.
    #[error("invalid prompt: {0}")]
    InvalidPrompt(String),
    /// The engine drains or was shut down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The executor failed and the engine has stopped for good.
    #[error("the engine has stopped: {0}")]
    Stopped(String),
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The executor's capacity cannot serve a single request.
    #[error("the executor cannot serve: {field} is {value}, at least {limit} is needed")]
    Capacity {
        /// The field of [`exec::Capacity`].
        field: &'static str,
        /// Its value.
        value: usize,
        /// The least useful value.
        limit: usize,
    },
    /// The operating system gave no thread.
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A snapshot of the engine's counters since its start, and gauges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Sequences in the running batch.
    pub num_running: usize,
    /// Requests waiting for their first step or preempted.
    pub num_waiting: usize,
    /// Blocks of the pool, the fullest one where there are two.
    pub num_blocks: usize,
    /// Blocks that hold tokens of running sequences.
    pub num_used_blocks: usize,
    /// Blocks that only the prefix cache holds; taken back when free ones run out.
    pub num_cached_blocks: usize,
    /// Prompt tokens looked up in the prefix cache.
    pub prefix_queries: u64,
    /// Prompt tokens found there.
    pub prefix_hits: u64,
    /// Sequences preempted.
    pub num_preemptions: u64,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Steps run.
    pub num_steps: u64,
    /// Sum over steps of their sequences.
    pub busy_seqs: u64,
    /// Time spent in steps that computed prompt tokens.
    pub prefill_time: Duration,
    /// Time spent in steps that only decoded.
    pub decode_time: Duration,
    /// The longest sequence seen, in tokens.
    pub max_seq_tokens: usize,
}
