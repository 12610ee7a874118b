//! All routes; a file for each family.

mod chat;
mod completions;
mod embeddings;
mod health;
mod metrics;
mod models;
mod native;
mod props;
mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value as Json;

use crate::{
    access,
    error::ApiError,
    generate::{self, Job, Whole},
    state::AppState,
    stream::{self, Chunks},
    wire::answer::Delivery,
};

/// Every route, behind the guard of [`access`].
pub(crate) fn router(state: Arc<AppState>) -> Router {
    let guard = middleware::from_fn_with_state(Arc::clone(&state), access::guard);
    Router::new()
        .route("/health", get(health::health))
        .route("/v1/health", get(health::health))
        .route("/models", get(models::models))
        .route("/v1/models", get(models::models))
        .route("/props", get(props::props))
        .route("/metrics", get(metrics::metrics))
        .route("/chat/completions", post(chat::completions))
        .route("/v1/chat/completions", post(chat::completions))
        .route("/apply-template", post(chat::apply_template))
        .route("/v1/completions", post(completions::completions))
        .route("/completion", post(native::completion))
        .route("/completions", post(native::completion))
        .route("/v1/embeddings", post(embeddings::openai))
        .route("/embedding", post(embeddings::native))
        .route("/embeddings", post(embeddings::native))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(guard)
        .with_state(state)
}

async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found_error", "File Not Found")
}

async fn wrong_method() -> ApiError {
    let message = "this route does not take this method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
}

/// A route's answer to its choices, streamed or not.
pub(crate) trait Answer: Chunks {
    /// The answer as one object.
    fn whole(self, choices: Vec<Whole>) -> Json;
}

/// Runs jobs and answers as the client wants it.
async fn generate(
    state: &AppState,
    jobs: Vec<Job>,
    delivery: Delivery,
    answer: impl Answer,
) -> Result<Response, ApiError> {
    let generations = generate::start_all(state, jobs)?;
    if delivery.stream {
        stream::respond(generations, answer, delivery.ping).await
    } else {
        Ok(json(&answer.whole(generate::collect_all(generations).await?)))
    }
}

fn json(value: &Json) -> Response {
    json_text(value.to_string())
}

/// An answer that is JSON already.
fn json_text(text: String) -> Response {
    let mut response = Body::from(text).into_response();
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
