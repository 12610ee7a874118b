//! Who may ask: CORS headers, API keys and the loading state, before any route.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{error::ApiError, state::AppState};

/// Routes that need no key.
const OPEN: &[&str] = &["/health", "/v1/health"];

/// Answers preflight requests, checks the key and adds the headers that every answer carries.
pub(crate) async fn guard(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        preflight()
    } else if OPEN.contains(&request.uri().path()) || key_is_known(request.headers(), &state.config.api_keys) {
        next.run(request).await
    } else {
        ApiError::new(StatusCode::UNAUTHORIZED, "authentication_error", "Invalid API Key").into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("llcuda"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}

fn preflight() -> Response {
    let mut response = Body::empty().into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    response
}

fn key_is_known(headers: &HeaderMap, keys: &[String]) -> bool {
    if keys.is_empty() {
        return true;
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.as_bytes().strip_prefix(b"Bearer "));
    let Some(given) = bearer.or_else(|| headers.get("x-api-key").map(HeaderValue::as_bytes)) else { return false };
    // All keys are compared, so that the time tells nothing about which one was close.
    keys.iter().fold(false, |known, key| known | equal_in_constant_time(given, key.as_bytes()))
}

fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::key_is_known;

    #[test]
    fn keys_come_as_bearer_or_header() {
        let keys = ["one".to_owned(), "two".to_owned()];
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            key_is_known(&headers, &keys)
        };
        assert!(with("authorization", "Bearer two") && with("x-api-key", "one"));
        assert!(!with("authorization", "two") && !with("x-api-key", "on") && !key_is_known(&HeaderMap::new(), &keys));
        assert!(key_is_known(&HeaderMap::new(), &[]));
    }
}
