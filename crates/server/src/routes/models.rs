//! `/v1/models`: the one model there is, as OpenAI and as ollama list it.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use engine::ModelKind;
use serde_json::json;
use text::Kind;

use crate::{
    error::ApiError,
    state::{AppState, unix_time},
};

/// Both lists in one object, as llama-server does it.
pub(super) async fn models(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let loaded = state.loaded()?;
    let (info, tokenizer) = (&loaded.model.info, &loaded.model.tokenizer);
    // llama.cpp's numbers.
    let vocab_type = match tokenizer.kind() {
        Kind::Spm => 1,
        Kind::Bpe => 2,
        Kind::WordPiece => 3,
        Kind::Unigram => 4,
    };
    let writes = (loaded.model.engine.capacity().kind == ModelKind::Decoder).then_some("completion");
    let embeds = loaded.model.pooling.map(|_| "embedding");
    let capabilities: Vec<&str> = writes.into_iter().chain(embeds).collect();
    Ok(super::json(&json!({
        "models": [{
            "name": info.id,
            "model": info.id,
            "type": "model",
            "capabilities": capabilities,
            "details": { "format": "gguf", "quantization_level": info.ftype },
        }],
        "object": "list",
        "data": [{
            "id": info.id,
            "aliases": info.aliases,
            "tags": [],
            "object": "model",
            "created": unix_time(),
            "owned_by": "llcuda",
            "meta": {
                "vocab_type": vocab_type,
                "n_vocab": tokenizer.num_tokens(),
                "n_ctx": loaded.num_ctx(),
                "n_ctx_train": info.train_context,
                "n_embd": info.hidden_size,
                "n_params": info.num_params,
                "size": info.weight_bytes,
                "ftype": info.ftype,
            },
        }],
    })))
}
