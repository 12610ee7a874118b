//! `/v1/chat/completions`, and `/apply-template`, which shows the prompt that it would use.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::json;

use crate::{
    error::ApiError,
    heavy,
    state::AppState,
    wire::{
        answer::{Delivery, Head, chat::ChatAnswer},
        fields::Fields,
        job, messages, prompt,
    },
};

/// Alternatives that are reported with each token at most, and by default.
const MAX_TOP_LOGPROBS: u32 = 20;

/// Answers a conversation.
pub(super) async fn completions(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let loaded = Arc::clone(state.generating()?);
    let config = Arc::clone(&state);
    let (jobs, delivery, answer) = heavy::run(&state, fields.num_bytes, move |cancelled| {
        let delivery = Delivery::parse(&fields)?;
        let num_choices = job::num_choices(&fields, &config.config)?;
        let num_logprobs = num_logprobs(&fields)?;
        let head = Head::parse("chatcmpl", &fields, num_logprobs.is_some(), &loaded)?;
        let job = job::parse(&fields, num_logprobs, &config.config.defaults, &loaded)?;
        let text = messages::render(&fields, &config.config.defaults, &loaded)?;
        let prompt = prompt::encode(&text, cancelled, &loaded)?;
        let jobs = job::spread(&job, vec![prompt], num_choices, &loaded)?;
        Ok((jobs, delivery, ChatAnswer::new(head, num_choices)))
    })
    .await?;
    super::generate(&state, jobs, delivery, answer).await
}

/// The prompt for a conversation.
pub(super) async fn apply_template(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let loaded = Arc::clone(state.loaded()?);
    let config = Arc::clone(&state);
    let text =
        heavy::run(&state, fields.num_bytes, move |_| messages::render(&fields, &config.config.defaults, &loaded))
            .await?;
    Ok(super::json(&json!({ "prompt": text })))
}

/// `logprobs` says whether, `top_logprobs` how many.
fn num_logprobs(fields: &Fields) -> Result<Option<u32>, ApiError> {
    let top = fields.int("top_logprobs", 0..=i64::from(MAX_TOP_LOGPROBS))?;
    match (fields.bool("logprobs", false)?, top) {
        (true, top) => Ok(Some(top.map_or(MAX_TOP_LOGPROBS, |n| n as u32))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(ApiError::invalid("Field 'top_logprobs': needs `logprobs` to be true")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Fields, num_logprobs};

    fn check(json: Json, expect: Option<Option<u32>>) {
        assert_eq!(num_logprobs(&Fields::from_json(json.clone())).ok(), expect, "{json}");
    }

    #[test]
    fn logprobs_are_asked_for_in_two_fields() {
        check(json!({}), Some(None));
        check(json!({ "logprobs": false, "top_logprobs": 0 }), Some(None));
        check(json!({ "logprobs": true }), Some(Some(20)));
        check(json!({ "logprobs": true, "top_logprobs": 0 }), Some(Some(0)));
        check(json!({ "logprobs": true, "top_logprobs": 20 }), Some(Some(20)));
        check(json!({ "logprobs": true, "top_logprobs": 21 }), None);
        check(json!({ "top_logprobs": 1 }), None);
        check(json!({ "logprobs": 1 }), None);
    }
}
