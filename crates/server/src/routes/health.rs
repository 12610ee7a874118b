//! `/health`: whether requests are served.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{error::ApiError, state::AppState};

/// 503 while the model loads, while the server drains and after the engine has failed.
pub(super) async fn health(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    state.serving()?;
    Ok(super::json(&json!({ "status": "ok" })))
}
