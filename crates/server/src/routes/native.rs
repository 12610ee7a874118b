//! `/completion`: llama-server's own route.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value as Json;

use crate::{
    error::ApiError,
    heavy,
    state::AppState,
    wire::{
        answer::{Delivery, native::NativeAnswer},
        fields::{Fields, int},
        job, prompt,
    },
};

/// Alternatives that are reported with each token at most.
const MAX_PROBS: i64 = 1000;

/// Continues one prompt or several.
pub(super) async fn completion(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let loaded = Arc::clone(state.generating()?);
    let config = Arc::clone(&state);
    let (jobs, delivery, answer) = heavy::run(&state, fields.num_bytes, move |cancelled| {
        let delivery = Delivery::parse(&fields)?;
        let num_choices = job::num_choices(&fields, &config.config)?;
        let job = job::parse(&fields, num_probs(&fields)?, &config.config.defaults, &loaded)?;
        let prompts = prompt::parse(fields.get("prompt"), cancelled, &loaded)?;
        let jobs = job::spread(&job, prompts, num_choices, &loaded)?;
        let answer = NativeAnswer::parse(&fields, delivery.stream, jobs.clone(), &loaded)?;
        Ok((jobs, delivery, answer))
    })
    .await?;
    super::generate(&state, jobs, delivery, answer).await
}

/// 0 asks for none.
fn num_probs(fields: &Fields) -> Result<Option<u32>, ApiError> {
    let given = fields.first(&["n_probs", "logprobs"]);
    let count = |(name, value): (&str, &Json)| int(name, value, 0..=MAX_PROBS);
    Ok(given.map(count).transpose()?.filter(|n| *n > 0).map(|n| n as u32))
}
