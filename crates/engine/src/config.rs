//! How an engine is set up.

/// Limits and policies of an engine. What the executor can hold is not here: see [`exec::Capacity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests that may wait beyond those that the executor can run at once; more are refused.
    pub max_waiting: usize,
    /// Whether finished blocks are kept and shared between requests with the same prefix.
    pub enable_prefix_cache: bool,
    /// Prompt tokens in a step at most while other sequences decode: bounds how long a long prompt delays them.
    /// Without decodes a step takes as many as the executor can.
    pub max_prefill_tokens_while_decoding: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { max_waiting: 512, enable_prefix_cache: true, max_prefill_tokens_while_decoding: 256 }
    }
}
