//! `/v1/completions`: OpenAI's older route, from text to text.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value as Json;

use crate::{
    error::ApiError,
    heavy,
    state::AppState,
    wire::{
        answer::{Delivery, Head, completions::CompletionAnswer},
        fields::Fields,
        job, prompt,
    },
};

/// Alternatives that are reported with each token at most.
const MAX_LOGPROBS: i64 = 20;

/// Continues one prompt or several.
pub(super) async fn completions(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let loaded = Arc::clone(state.generating()?);
    let config = Arc::clone(&state);
    let (jobs, delivery, answer) = heavy::run(&state, fields.num_bytes, move |cancelled| {
        refuse(&fields)?;
        let delivery = Delivery::parse(&fields)?;
        let num_choices = job::num_choices(&fields, &config.config)?;
        let num_logprobs = num_logprobs(&fields)?;
        let head = Head::parse("cmpl", &fields, num_logprobs.is_some(), &loaded)?;
        let job = job::parse(&fields, num_logprobs, &config.config.defaults, &loaded)?;
        let prompts = prompt::parse(fields.get("prompt"), cancelled, &loaded)?;
        let answer = CompletionAnswer::new(head, prompts.len(), num_choices);
        Ok((job::spread(&job, prompts, num_choices, &loaded)?, delivery, answer))
    })
    .await?;
    super::generate(&state, jobs, delivery, answer).await
}

/// llama-server refuses these, in these words.
fn refuse(fields: &Fields) -> Result<(), ApiError> {
    if fields.bool("echo", false)? {
        return Err(ApiError::invalid("Only no echo is supported"));
    }
    match ["best_of", "suffix"].into_iter().find(|name| fields.get(name).is_some()) {
        Some(name) => Err(ApiError::invalid(format!("Unsupported param: {name}"))),
        None => Ok(()),
    }
}

/// `logprobs` is a count here; llama-server's `n_probs` is another name for it.
fn num_logprobs(fields: &Fields) -> Result<Option<u32>, ApiError> {
    let given = fields.first(&["logprobs", "n_probs"]);
    let count = |(name, value): (&str, &Json)| crate::wire::fields::int(name, value, 0..=MAX_LOGPROBS);
    Ok(given.map(count).transpose()?.map(|n| n as u32))
}
