//! `/metrics` for Prometheus.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{error::ApiError, state::AppState};

/// Answers while the server drains, too: the last figures count.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let loaded = state.loaded()?;
    let mut response = Body::from(loaded.metrics.render(&loaded.model.engine.stats())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    headers.insert("process-start-time-unix", HeaderValue::from(state.started_at));
    Ok(response)
}
