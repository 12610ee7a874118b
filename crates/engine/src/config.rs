//! How an engine is set up.

use std::time::Duration;

/// Limits and policies of an engine. What the executor can hold is not here: see [`exec::Capacity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests that may wait beyond those that the executor can run at once; more are refused.
    pub max_waiting: usize,
    /// Whether finished blocks are kept and shared between requests with the same prefix.
    pub enable_prefix_cache: bool,
    /// How long a step with prompt tokens should take at most while other sequences decode: the time for which a long
    /// prompt holds up everyone's next token. The engine takes as many prompt tokens into such a step as the speed
    /// measured so far allows. Without decodes a step takes as many as the executor can.
    pub target_step_time: Duration,
    /// Prompt tokens in such a step at most, however fast the device is.
    pub max_prefill_tokens_while_decoding: usize,
    /// Steps that are launched before the first of them is collected, at most and where the executor takes as many. With
    /// 2, the device goes on while the engine works on the last step's tokens; with 1 it waits.
    pub max_steps_in_flight: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_waiting: 512,
            enable_prefix_cache: true,
            target_step_time: Duration::from_millis(200),
            max_prefill_tokens_while_decoding: 512,
            max_steps_in_flight: 2,
        }
    }
}
