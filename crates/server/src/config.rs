//! How a server is set up.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Map, Value as Json};
use types::SamplingParams;

/// Everything the HTTP side needs to know besides the model.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 picks a free one.
    pub address: SocketAddr,
    /// Keys that clients must send; empty admits everyone.
    pub api_keys: Vec<String>,
    /// Largest body, in bytes; larger ones get 413.
    pub max_body_bytes: usize,
    /// A request whose answer is not complete by then fails.
    pub request_timeout: Duration,
    /// A client that sends or takes nothing for so long in the middle of a request is cut off, as is a connection that
    /// sends no request at all.
    pub client_timeout: Duration,
    /// How long running answers may go on after a shutdown was asked for.
    pub drain_timeout: Duration,
    /// Choices of one request at most (`n`).
    pub max_choices: usize,
    /// What a request gets when it says nothing.
    pub defaults: Defaults,
}

/// What a request gets when it says nothing.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The sampler chain; its seed is not used.
    pub params: SamplingParams,
    /// The seed; `None` draws one per request.
    pub seed: Option<u32>,
    /// Tokens to generate at most; `None` until the context is full.
    pub max_tokens: Option<usize>,
    /// Whether prompts share the prefix cache.
    pub cache_prompt: bool,
    /// The norm that embeddings are divided by: -1 none, 0 the largest value over 32760, else a p-norm, 2 for unit length.
    pub embd_normalize: i32,
    /// Variables for the chat template; a request's own win.
    pub template_kwargs: Map<String, Json>,
    /// Whether a last message of the assistant is continued, rather than answered.
    pub prefill_assistant: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            params: SamplingParams::default(),
            seed: None,
            max_tokens: None,
            cache_prompt: true,
            embd_normalize: 2,
            template_kwargs: Map::new(),
            prefill_assistant: true,
        }
    }
}

impl ServerConfig {
    /// llama-server's defaults on this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            api_keys: Vec::new(),
            max_body_bytes: 100 << 20,
            request_timeout: Duration::from_secs(3600),
            client_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(4),
            max_choices: 16,
            defaults: Defaults::default(),
        }
    }
}
