//! Reads a body as a JSON object, within limits on its size, its pace and the number of its values.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use futures_util::StreamExt;
use serde_json::{Map, Value as Json};
use tokio::sync::OwnedSemaphorePermit;

use super::fields::Fields;
use crate::{error::ApiError, heavy, state::AppState};

/// What every body may take; more comes out of a budget that all bodies share.
const FREE_BYTES: usize = 64 << 10;
/// A value takes many times the memory of its two bytes (`0,`) in a body.
const MAX_VALUES: usize = 4 << 20;

impl FromRequest<Arc<AppState>> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|v| v.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
        let mut reader = Reader::new(request.into_body(), state);
        let bytes = match reader.read(announced).await {
            Ok(bytes) => bytes,
            Err(error) => {
                // A connection that closes with bytes unread takes the answer with it, so they are read and dropped.
                reader.discard().await;
                return Err(error);
            }
        };
        let share = reader.share;
        heavy::run(state, bytes.len(), move |_| {
            let num_bytes = bytes.len();
            parse(&bytes).map(|map| Fields::new(map, num_bytes, share))
        })
        .await
    }
}

struct Reader<'a> {
    body: axum::body::BodyDataStream,
    state: &'a AppState,
    /// This body's part of the common budget.
    share: Option<OwnedSemaphorePermit>,
}

impl<'a> Reader<'a> {
    fn new(body: Body, state: &'a AppState) -> Self {
        Self { body: body.into_data_stream(), state, share: None }
    }

    async fn read(&mut self, announced: usize) -> Result<Vec<u8>, ApiError> {
        let limit = self.state.config.max_body_bytes;
        if announced > limit {
            return Err(too_large(announced, limit));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next().await? {
            let num_bytes = bytes.len() + chunk.len();
            if num_bytes > limit {
                return Err(too_large(num_bytes, limit));
            }
            self.reserve(num_bytes)?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let patience = self.state.config.client_timeout;
        match tokio::time::timeout(patience, self.body.next()).await {
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(Some(Err(error))) => Err(ApiError::invalid(format!("the body could not be read: {error}"))),
            Ok(None) => Ok(None),
            Err(_) => {
                let message = format!("nothing of the body came for {} seconds", patience.as_secs_f64());
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout_error", message))
            }
        }
    }

    /// Takes what the body needs by now from the common budget.
    fn reserve(&mut self, num_bytes: usize) -> Result<(), ApiError> {
        let held = FREE_BYTES + self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(missing) = num_bytes.checked_sub(held).filter(|n| *n > 0) else { return Ok(()) };
        let full = || ApiError::unavailable("too many large requests at once, try again later").retry_after(1);
        let missing = u32::try_from(missing).map_err(|_| full())?;
        let more = Arc::clone(&self.state.body_bytes).try_acquire_many_owned(missing).map_err(|_| full())?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }

    /// Reads on for a while and forgets what comes.
    async fn discard(&mut self) {
        self.share = None;
        let drop_all = async { while let Some(Ok(_)) = self.body.next().await {} };
        // Whoever sends on after that may miss the answer.
        let _ = tokio::time::timeout(self.state.config.client_timeout, drop_all).await;
    }
}

fn too_large(num_bytes: usize, limit: usize) -> ApiError {
    let message = format!("the body has {num_bytes} bytes or more, at most {limit} may be");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
}

fn parse(bytes: &[u8]) -> Result<Map<String, Json>, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ApiError::invalid(format!("the body is not UTF-8: {e}")))?;
    let num_values = num_values(bytes);
    if num_values > MAX_VALUES {
        return Err(ApiError::invalid(format!("the body holds {num_values} JSON values, at most {MAX_VALUES} may be")));
    }
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::invalid("the body must be a JSON object")),
        Err(e) => Err(ApiError::invalid(format!("the body is not valid JSON: {e}"))),
    }
}

/// An upper bound of the values in a JSON text: whatever begins, or is followed by another, outside of strings.
fn num_values(bytes: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{num_values, parse};

    #[test]
    fn values_are_counted_outside_of_strings() {
        assert!((3..=4).contains(&num_values(br#"{"a":[1,2]}"#)));
        assert_eq!(num_values(br#""a,[{,\",\\""#), 1);
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_reason() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "JSON"),
            (b"{", "JSON"),
            (b"[]", "object"),
            (b"{\"a\":\"\xff\"}", "UTF-8"),
            (b"{\"a\":NaN}", "JSON"),
        ];
        for (body, word) in cases {
            let error = parse(body).expect_err("refused").json().to_string();
            assert!(error.contains(word), "{error}");
        }
        let deep = "[".repeat(1000);
        assert!(parse(format!("{{\"a\":{deep}").as_bytes()).is_err());
    }

    #[test]
    fn millions_of_values_are_refused_before_they_take_memory() {
        let body = format!("{{\"a\":[{}0]}}", "0,".repeat(5 << 20));
        assert!(parse(body.as_bytes()).expect_err("refused").json().to_string().contains("4194304"));
    }
}
