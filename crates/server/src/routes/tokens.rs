//! `/tokenize` and `/detokenize`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::{Value as Json, json};
use text::{Cancelled, DetokenizeOptions, EncodeOptions, Tokenizer};
use types::TokenId;

use crate::{
    error::ApiError,
    heavy,
    state::AppState,
    wire::fields::{Fields, int, wrong_type},
};

/// Text to ids. `content` may mix texts and ids, as prompts may.
pub(super) async fn tokenize(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let tokenizer = Arc::clone(&state.loaded()?.model.tokenizer);
    let answer = heavy::run(&state, fields.num_bytes, move |cancelled| {
        let options = EncodeOptions {
            add_special: fields.bool("add_special", false)?,
            parse_special: fields.bool("parse_special", true)?,
        };
        let ids = encode(fields.get("content"), options, cancelled, &tokenizer)?;
        let tokens: Vec<Json> = if fields.bool("with_pieces", false)? {
            ids.iter().map(|id| json!({ "id": id.0, "piece": piece(tokenizer.piece(*id)) })).collect()
        } else {
            ids.iter().map(|id| id.0.into()).collect()
        };
        Ok(json!({ "tokens": tokens }))
    });
    Ok(super::json(&answer.await?))
}

fn encode(
    content: Option<&Json>,
    options: EncodeOptions,
    cancelled: &Cancelled,
    tokenizer: &Tokenizer,
) -> Result<Vec<TokenId>, ApiError> {
    match content {
        None => Ok(Vec::new()),
        Some(Json::String(text)) => Ok(tokenizer.encode_unless(cancelled, text, options)?),
        Some(Json::Array(parts)) => {
            let mut ids = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                match part {
                    Json::String(text) => {
                        let add_special = options.add_special && i == 0;
                        ids.extend(tokenizer.encode_unless(
                            cancelled,
                            text,
                            EncodeOptions { add_special, ..options },
                        )?);
                    }
                    number => ids.push(token_id("content", number, tokenizer)?),
                }
            }
            Ok(ids)
        }
        Some(other) => Err(wrong_type("content", "a string or a list of strings and token ids", other)),
    }
}

/// A token's text, or its bytes where they are no text.
fn piece(bytes: &[u8]) -> Json {
    std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), Json::from)
}

fn token_id(name: &str, value: &Json, tokenizer: &Tokenizer) -> Result<TokenId, ApiError> {
    let last = tokenizer.num_tokens() as i64 - 1;
    Ok(TokenId(int(name, value, 0..=last)? as u32))
}

/// Ids to text, markup included.
pub(super) async fn detokenize(State(state): State<Arc<AppState>>, fields: Fields) -> Result<Response, ApiError> {
    let tokenizer = Arc::clone(&state.loaded()?.model.tokenizer);
    let answer = heavy::run(&state, fields.num_bytes, move |_| {
        let ids = match fields.get("tokens") {
            None => Vec::new(),
            Some(Json::Array(list)) => {
                list.iter().map(|id| token_id("tokens", id, &tokenizer)).collect::<Result<Vec<_>, _>>()?
            }
            Some(other) => return Err(wrong_type("tokens", "a list of token ids", other)),
        };
        let options = DetokenizeOptions { render_special: true, at_text_start: false };
        Ok(json!({ "content": tokenizer.decode(&ids, options) }))
    });
    Ok(super::json(&answer.await?))
}
