//! Errors as clients see them: `{"error": {"code", "message", "type"}}`.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::{FailReason, SubmitError};
use serde_json::{Value as Json, json};
use text::TextError;

/// An error with its HTTP status.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// Further fields of the error object.
    extra: Vec<(&'static str, Json)>,
    /// Seconds after which trying again makes sense.
    retry_after: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), extra: Vec::new(), retry_after: None }
    }

    /// The client's mistake; the message names field, value and limit.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A field that asks for a feature that is not there.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message)
    }

    /// Our fault.
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// A prompt that does not fit.
    pub(crate) fn context_exceeded(num_prompt_tokens: usize, num_ctx: usize) -> Self {
        let message = format!(
            "request ({num_prompt_tokens} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
        );
        Self {
            extra: vec![("n_prompt_tokens", json!(num_prompt_tokens)), ("n_ctx", json!(num_ctx))],
            ..Self::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", message)
        }
    }

    /// A prompt that an encoder cannot have in one step.
    pub(crate) fn step_exceeded(num_prompt_tokens: usize, max_num_batched_tokens: usize) -> Self {
        let message = format!(
            "input ({num_prompt_tokens} tokens) is too large to process. increase the physical batch size \
             (--batch-size and --ubatch-size, current: {max_num_batched_tokens} tokens)"
        );
        let counts = [("n_prompt_tokens", json!(num_prompt_tokens)), ("n_batch", json!(max_num_batched_tokens))];
        Self { extra: counts.into(), ..Self::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", message) }
    }

    /// The same error with the advice to try again.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The error object, as it stands in a body and in a stream.
    pub(crate) fn json(&self) -> Json {
        let mut error = json!({ "code": self.status.as_u16(), "message": self.message, "type": self.kind });
        for (key, value) in &self.extra {
            error[*key] = value.clone();
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Body::from(self.json().to_string())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", error.to_string()).retry_after(1)
            }
            SubmitError::PromptTooLong { num_prompt_tokens, max_model_len } => {
                Self::context_exceeded(num_prompt_tokens, max_model_len)
            }
            SubmitError::PromptBeyondStep { num_prompt_tokens, max_num_batched_tokens } => {
                Self::step_exceeded(num_prompt_tokens, max_num_batched_tokens)
            }
            SubmitError::Unsupported(_) => Self::unsupported(error.to_string()),
            SubmitError::InvalidPrompt(_) => Self::invalid(error.to_string()),
            SubmitError::ShuttingDown => Self::unavailable(error.to_string()),
            SubmitError::Stopped(_) => Self::server(error.to_string()),
        }
    }
}

impl From<FailReason> for ApiError {
    fn from(reason: FailReason) -> Self {
        match reason {
            FailReason::DeadlineExceeded => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", reason.to_string()),
            FailReason::ShuttingDown => Self::unavailable(reason.to_string()),
            FailReason::Executor(_) => Self::server(reason.to_string()),
        }
    }
}

impl From<TextError> for ApiError {
    fn from(error: TextError) -> Self {
        Self::invalid(error.to_string())
    }
}
