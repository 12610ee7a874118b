//! `/v1/embeddings`, and llama-server's own `/embedding`: vectors of texts.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use engine::Pooling;
use text::Cancelled;

use crate::{
    embed::{self, Prompts},
    error::ApiError,
    heavy,
    state::{AppState, Loaded},
    wire::{
        answer::embeddings::{EmbeddingsAnswer, Encoding, Shape},
        fields::Fields,
        prompt::{Purpose, Reader},
    },
};

/// Numbers that one answer may hold: 128 MiB of them.
const MAX_VALUES: usize = 32 << 20;
/// The largest `embd_normalize`; higher powers leave the range of numbers.
const MAX_NORM: i64 = 64;

/// OpenAI's route.
pub(super) async fn openai(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    respond(&state, fields, Shape::OpenAi).await
}

/// llama-server's own.
pub(super) async fn native(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    respond(&state, fields, Shape::Native).await
}

async fn respond(state: &Arc<AppState>, fields: Fields, shape: Shape) -> Result<Response, ApiError> {
    let (loaded, pooling) = state.embedding()?;
    let (loaded, config) = (Arc::clone(loaded), Arc::clone(state));
    let (prompts, answer) = heavy::run(state, fields.num_bytes, move |cancelled| {
        // A text under llama-server's own name gets llama-server's own answer.
        let shape =
            if fields.get("input").is_none() && fields.get("content").is_some() { Shape::Native } else { shape };
        if shape == Shape::OpenAi && pooling == Pooling::None {
            // llama-server's words.
            let message = "Pooling type 'none' is not OAI compatible. Please use a different pooling type (--pooling)";
            return Err(ApiError::invalid(message));
        }
        let width = loaded.model.engine.capacity().hidden_size;
        check_dimensions(&fields, width)?;
        let norm = fields.int("embd_normalize", -1..=MAX_NORM)?.map(|n| n as i32);
        let answer = EmbeddingsAnswer {
            shape,
            encoding: Encoding::parse(&fields)?,
            norm: norm.unwrap_or(config.config.defaults.embd_normalize),
            pooling,
            width,
            model: fields.string("model")?.unwrap_or(&loaded.model.info.id).to_owned(),
        };
        let prompts = parse(&fields, cancelled, &loaded)?;
        check_size(&prompts, pooling, width)?;
        Ok((Prompts { prompts, pooling, received_at: fields.received_at }, answer))
    })
    .await?;
    let embedded = embed::embed_all(state, prompts).await?;
    let num_bytes = embedded.iter().map(|one| size_of_val(&one.values[..])).sum();
    Ok(super::json_text(heavy::run(state, num_bytes, move |_| Ok(answer.text(embedded))).await?))
}

/// The prompts in `input`, or in `content`.
fn parse(fields: &Fields, cancelled: &Cancelled, loaded: &Loaded) -> Result<Vec<Vec<types::TokenId>>, ApiError> {
    let Some((name, value)) = fields.first(&["input", "content"]) else {
        return Err(ApiError::invalid("\"input\" or \"content\" must be provided"));
    };
    let prompts = Reader { name, purpose: Purpose::Embed, cancelled, loaded }.parse(Some(value))?;
    prompts.iter().try_for_each(|prompt| Purpose::Embed.check_len(prompt.len(), loaded))?;
    Ok(prompts)
}

/// Shorter vectors than the model's are not made.
fn check_dimensions(fields: &Fields, width: usize) -> Result<(), ApiError> {
    match fields.int("dimensions", 1..=i64::from(i32::MAX))? {
        Some(n) if n as usize != width => {
            Err(ApiError::unsupported(format!("Field 'dimensions': is {n}, the model's vectors have {width} elements")))
        }
        _ => Ok(()),
    }
}

fn check_size(prompts: &[Vec<types::TokenId>], pooling: Pooling, width: usize) -> Result<(), ApiError> {
    let rows = |prompt: &Vec<types::TokenId>| if pooling == Pooling::None { prompt.len() } else { 1 };
    let num_values = prompts.iter().map(rows).sum::<usize>() * width;
    if num_values <= MAX_VALUES {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "the answer would hold {num_values} numbers, at most {MAX_VALUES} may be; send fewer texts at once"
    )))
}
