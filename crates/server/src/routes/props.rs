//! `/props`: what clients and user interfaces want to know before they ask.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use engine::Pooling;
use serde_json::json;
use types::TokenId;

use crate::{
    error::ApiError,
    state::AppState,
    wire::answer::{BUILD, settings},
};

/// The server's properties.
pub(super) async fn props(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let loaded = state.loaded()?;
    let (info, tokenizer, defaults) = (&loaded.model.info, &loaded.model.tokenizer, &state.config.defaults);
    let text = |id: Option<TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    let mut params = settings::sampling(&defaults.params);
    params["seed"] = defaults.seed.unwrap_or(u32::MAX).into();
    params["n_predict"] = settings::max_tokens(defaults.max_tokens).into();
    params["max_tokens"] = settings::max_tokens(defaults.max_tokens).into();
    params["cache_prompt"] = defaults.cache_prompt.into();
    params["stop"] = json!([]);
    params["ignore_eos"] = false.into();
    params["stream"] = false.into();
    Ok(super::json(&json!({
        "default_generation_settings": { "params": params, "n_ctx": loaded.num_ctx() },
        "total_slots": loaded.model.engine.capacity().max_num_seqs,
        "model_alias": info.id,
        "model_ftype": info.ftype,
        "model_path": info.path,
        "modalities": { "vision": false, "video": false, "audio": false },
        "endpoint_slots": false,
        "endpoint_props": false,
        "endpoint_metrics": true,
        "chat_template": info.chat_template,
        "bos_token": text(tokenizer.bos()),
        "eos_token": text(tokenizer.eos()),
        "pooling": loaded.model.pooling.map(Pooling::name),
        "build_info": BUILD,
        "is_sleeping": false,
    })))
}
