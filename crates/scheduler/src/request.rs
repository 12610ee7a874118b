//! What goes into the scheduler and what comes out.

use exec::SampledToken;
use types::{Pooling, RequestId, SamplingParams, TokenId};

/// A request for one sequence.
#[derive(Clone, Debug)]
pub struct SeqRequest {
    /// Its id; ids grow in the order of arrival.
    pub request_id: RequestId,
    /// The prompt, `1..max_model_len` tokens; up to [`exec::Capacity::max_embedded_tokens`] where it is to be embedded.
    pub prompt: Vec<TokenId>,
    /// What is to be made of it.
    pub task: Task,
    /// Larger runs first; equal priorities run in the order of arrival.
    pub priority: i32,
    /// Whether the sequence takes blocks from, and leaves its own in, the prefix cache.
    pub cache_prompt: bool,
}

/// What is to be made of a prompt.
#[derive(Clone, Debug)]
pub enum Task {
    /// An answer. Not for encoders.
    Generate(Generation),
    /// A vector, or one for each token.
    Embed(Pooling),
}

/// How an answer is made.
#[derive(Clone, Debug)]
pub struct Generation {
    /// How tokens are chosen.
    pub params: SamplingParams,
    /// Tokens to generate at most; the context's end bounds it too. `0` only computes the prompt.
    pub max_tokens: usize,
    /// Tokens that end the answer (end of generation); empty to ignore them.
    pub stop_token_ids: Vec<TokenId>,
}

/// What happened to a request.
#[derive(Clone, Debug)]
pub enum SeqEvent {
    /// It has one more token. A token that ends the answer is not reported so.
    Token(SampledToken),
    /// Its prompt's vector, `[hidden_size]`, or its tokens' one after the other, `[num_prompt_tokens, hidden_size]`. The end
    /// follows.
    Embedding(Vec<f32>),
    /// It is done and forgotten.
    Ended(Ended),
}

/// The end of a sequence and its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub num_prompt_tokens: usize,
    /// Those of them that the prefix cache held when the sequence was first admitted.
    pub num_cached_tokens: usize,
    /// Tokens generated, an ending token included.
    pub num_generated_tokens: usize,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model chose a token that ends generation.
    EndOfGeneration(TokenId),
    /// `max_tokens` were generated, or the prompt is embedded.
    Length,
    /// The context is full.
    ContextFull,
    /// The caller dropped the response or asked for it.
    Aborted,
}
