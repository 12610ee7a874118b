//! What all requests share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{EngineHandle, ModelKind, Pooling};
use text::{ChatTemplate, Tokenizer};
use tokio::sync::Semaphore;
use types::TokenId;

use crate::{ServerConfig, error::ApiError, metrics::Metrics};

/// Bodies that may be read and parsed at the same time, as multiples of the largest one.
const BODIES_AT_ONCE: usize = 4;

/// A loaded model.
pub struct Model {
    /// Computes.
    pub engine: EngineHandle,
    /// Text to tokens and back.
    pub tokenizer: Arc<Tokenizer>,
    /// Messages to a prompt.
    pub template: Arc<ChatTemplate>,
    /// What becomes of the hidden states of texts; `None` where no embeddings are served.
    pub pooling: Option<Pooling>,
    /// What clients are told about it.
    pub info: ModelInfo,
}

/// What clients are told about a model.
#[derive(Clone, Debug, Default)]
pub struct ModelInfo {
    /// The name that answers carry.
    pub id: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// The file, or a word for an embedded model.
    pub path: String,
    /// The type mix, e.g. `Q4_K_M`.
    pub ftype: String,
    /// Parameters.
    pub num_params: u64,
    /// Bytes of weights.
    pub weight_bytes: u64,
    /// Context that the model was trained with, in tokens.
    pub train_context: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// The Jinja source of the chat template.
    pub chat_template: String,
}

/// Hands the model to a server that already listens.
#[derive(Clone)]
pub struct Ready(pub(crate) Arc<AppState>);

impl Ready {
    /// From now on requests are served; a second call does nothing.
    pub fn set(&self, model: Model) {
        let metrics = Metrics::new(&model.info.id, model.engine.capacity());
        let num_tokens = u32::try_from(model.tokenizer.num_tokens()).unwrap_or(u32::MAX);
        let pieces = (0..num_tokens).map(|id| model.tokenizer.piece(TokenId(id)).len());
        let longest_piece = pieces.max().unwrap_or(0).max(1);
        // The first model stays: a server has one.
        let _ = self.0.loaded.set(Arc::new(Loaded { model, metrics, longest_piece }));
    }
}

/// A model that is served.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) metrics: Metrics,
    /// Bytes of the longest token: a text has at least its length divided by this many tokens.
    pub(crate) longest_piece: usize,
}

impl Loaded {
    /// Tokens that a prompt and its answer may have together.
    pub(crate) fn num_ctx(&self) -> usize {
        self.model.engine.capacity().max_model_len
    }
}

/// What all requests share.
pub(crate) struct AppState {
    pub(crate) config: ServerConfig,
    loaded: OnceLock<Arc<Loaded>>,
    draining: AtomicBool,
    /// Bytes that large bodies may take, all together.
    pub(crate) body_bytes: Arc<Semaphore>,
    /// Large requests that may be parsed and tokenized at the same time.
    pub(crate) heavy: Arc<Semaphore>,
    /// For `Process-Start-Time-Unix`.
    pub(crate) started_at: u64,
}

impl AppState {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let num_cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let body_bytes = config.max_body_bytes.saturating_mul(BODIES_AT_ONCE).min(Semaphore::MAX_PERMITS);
        Self {
            config,
            loaded: OnceLock::new(),
            draining: AtomicBool::new(false),
            body_bytes: Arc::new(Semaphore::new(body_bytes)),
            heavy: Arc::new(Semaphore::new((num_cpus / 2).max(1))),
            started_at: unix_time(),
        }
    }

    /// The model, once it is loaded.
    ///
    /// # Errors
    /// 503 while it loads.
    pub(crate) fn loaded(&self) -> Result<&Arc<Loaded>, ApiError> {
        self.loaded.get().ok_or_else(|| ApiError::unavailable("Loading model"))
    }

    /// The model, for new work.
    ///
    /// # Errors
    /// 503 while it loads, drains or when the engine has stopped.
    pub(crate) fn serving(&self) -> Result<&Arc<Loaded>, ApiError> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(ApiError::unavailable("The server is shutting down"));
        }
        let loaded = self.loaded()?;
        if loaded.model.engine.is_healthy() {
            Ok(loaded)
        } else {
            Err(ApiError::unavailable("The engine has stopped; the log says why"))
        }
    }

    /// The model, for new texts.
    ///
    /// # Errors
    /// As [`Self::serving`], and 501 where the model writes none.
    pub(crate) fn generating(&self) -> Result<&Arc<Loaded>, ApiError> {
        let loaded = self.serving()?;
        match loaded.model.engine.capacity().kind {
            ModelKind::Decoder => Ok(loaded),
            ModelKind::Encoder => {
                let message = "the model is an encoder, which writes no text; it serves /v1/embeddings";
                Err(ApiError::unsupported(message))
            }
        }
    }

    /// The model, for new embeddings, and what becomes of hidden states.
    ///
    /// # Errors
    /// As [`Self::serving`], and 501 where it serves none.
    pub(crate) fn embedding(&self) -> Result<(&Arc<Loaded>, Pooling), ApiError> {
        let loaded = self.serving()?;
        // llama-server's words.
        let refused = || ApiError::unsupported("This server does not support embeddings. Start it with `--embeddings`");
        Ok((loaded, loaded.model.pooling.ok_or_else(refused)?))
    }

    /// No new work from now on.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// Seconds since 1970, for `created`.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
