//! Prompts: text, token ids, a mixture of both, or lists of those.

use serde_json::Value as Json;
use text::{Cancelled, EncodeOptions};
use types::TokenId;

use super::fields::{int, wrong_type};
use crate::{error::ApiError, state::Loaded};

/// Prompts of one request at most.
const MAX_PROMPTS: usize = 256;
const NAME: &str = "prompt";
const EXPECTED: &str = "a string, a list of token ids, a mixture of both, or a list of those";

/// Parses and tokenizes the prompts in the field `prompt`; there is at least one.
pub(crate) fn parse(
    value: Option<&Json>,
    cancelled: &Cancelled,
    loaded: &Loaded,
) -> Result<Vec<Vec<TokenId>>, ApiError> {
    match value {
        None => Err(ApiError::invalid(format!("Field '{NAME}': must be provided"))),
        // A list with a number in it is one prompt; other lists are several.
        Some(Json::Array(list)) if !list.iter().any(Json::is_number) => {
            let num_prompts = list.len();
            if !(1..=MAX_PROMPTS).contains(&num_prompts) {
                let message = format!("Field '{NAME}': holds {num_prompts} prompts, 1 to {MAX_PROMPTS} may be");
                return Err(ApiError::invalid(message));
            }
            list.iter().map(|prompt| one(prompt, cancelled, loaded)).collect()
        }
        Some(prompt) => Ok(vec![one(prompt, cancelled, loaded)?]),
    }
}

/// The tokens of a text that begins a prompt, where its markup counts.
///
/// # Errors
/// When the text is so long that it cannot fit, which is known without tokenizing it.
pub(crate) fn encode(text: &str, cancelled: &Cancelled, loaded: &Loaded) -> Result<Vec<TokenId>, ApiError> {
    encode_part(text, true, cancelled, loaded)
}

fn encode_part(
    text: &str,
    add_special: bool,
    cancelled: &Cancelled,
    loaded: &Loaded,
) -> Result<Vec<TokenId>, ApiError> {
    let at_least = text.len() / loaded.longest_piece;
    if at_least >= loaded.num_ctx() {
        return Err(ApiError::context_exceeded(at_least, loaded.num_ctx()));
    }
    let options = EncodeOptions { add_special, parse_special: true };
    Ok(loaded.model.tokenizer.encode_unless(cancelled, text, options)?)
}

fn one(value: &Json, cancelled: &Cancelled, loaded: &Loaded) -> Result<Vec<TokenId>, ApiError> {
    let ids = match value {
        // Checked before the tokenizer adds what begins a text: nothing was asked for.
        Json::String(text) if text.is_empty() => Vec::new(),
        Json::String(text) => encode(text, cancelled, loaded)?,
        Json::Array(parts) => mixed(parts, cancelled, loaded)?,
        Json::Object(object) => from_object(object, cancelled, loaded)?,
        other => return Err(wrong_type(NAME, EXPECTED, other)),
    };
    if ids.is_empty() {
        return Err(ApiError::invalid(format!("Field '{NAME}': the prompt is empty, at least one token is needed")));
    }
    Ok(ids)
}

fn mixed(parts: &[Json], cancelled: &Cancelled, loaded: &Loaded) -> Result<Vec<TokenId>, ApiError> {
    let last = loaded.model.tokenizer.num_tokens() as i64 - 1;
    let mut ids = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        match part {
            // Only the beginning of a prompt gets the automatic first token.
            Json::String(text) => ids.extend(encode_part(text, i == 0, cancelled, loaded)?),
            number => ids.push(TokenId(int(NAME, number, 0..=last)? as u32)),
        }
    }
    Ok(ids)
}

fn from_object(
    object: &serde_json::Map<String, Json>,
    cancelled: &Cancelled,
    loaded: &Loaded,
) -> Result<Vec<TokenId>, ApiError> {
    let data = object.get("multimodal_data").and_then(Json::as_array);
    if data.is_some_and(|d| !d.is_empty()) {
        return Err(ApiError::unsupported("Field 'prompt': multimodal data is not supported yet"));
    }
    match object.get("prompt_string") {
        Some(text @ Json::String(_)) => one(text, cancelled, loaded),
        _ => Err(ApiError::invalid(format!("Field '{NAME}': an object needs \"prompt_string\""))),
    }
}
