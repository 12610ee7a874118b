//! Prompts, to be continued or embedded: text, token ids, a mixture of both, or lists of those.

use serde_json::Value as Json;
use text::{Cancelled, EncodeOptions};
use types::TokenId;

use super::fields::{int, wrong_type};
use crate::{error::ApiError, state::Loaded};

const EXPECTED: &str = "a string, a list of token ids, a mixture of both, or a list of those";

/// What becomes of prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They are continued.
    Generate,
    /// They become vectors.
    Embed,
}

impl Purpose {
    /// Prompts of one request at most.
    fn max_prompts(self) -> usize {
        match self {
            Self::Generate => 256,
            // OpenAI's limit.
            Self::Embed => 2048,
        }
    }

    /// Refuses a prompt of so many tokens where it is too long.
    pub(crate) fn check_len(self, num_tokens: usize, loaded: &Loaded) -> Result<(), ApiError> {
        let capacity = loaded.model.engine.capacity();
        let num_ctx = capacity.max_model_len;
        let limit = match self {
            Self::Generate => num_ctx.saturating_sub(1),
            Self::Embed => capacity.max_embedded_tokens(),
        };
        if num_tokens <= limit {
            Ok(())
        } else if self == Self::Embed && num_tokens <= num_ctx {
            Err(ApiError::step_exceeded(num_tokens, limit))
        } else {
            Err(ApiError::context_exceeded(num_tokens, num_ctx))
        }
    }
}

/// A field with prompts, and what is needed to read them.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The field's name.
    pub(crate) name: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) cancelled: &'a Cancelled,
    pub(crate) loaded: &'a Loaded,
}

/// Parses and tokenizes the prompts to be continued in the field `prompt`; there is at least one.
pub(crate) fn parse(
    value: Option<&Json>,
    cancelled: &Cancelled,
    loaded: &Loaded,
) -> Result<Vec<Vec<TokenId>>, ApiError> {
    Reader { name: "prompt", purpose: Purpose::Generate, cancelled, loaded }.parse(value)
}

/// The tokens of a text that begins a prompt to be continued, where its markup counts.
///
/// # Errors
/// When the text is so long that it cannot fit, which is known without tokenizing it.
pub(crate) fn encode(text: &str, cancelled: &Cancelled, loaded: &Loaded) -> Result<Vec<TokenId>, ApiError> {
    Reader { name: "prompt", purpose: Purpose::Generate, cancelled, loaded }.encode(text, true)
}
impl Reader<'_> {
    /// Parses and tokenizes the prompts in a field; there is at least one.
    pub(crate) fn parse(self, value: Option<&Json>) -> Result<Vec<Vec<TokenId>>, ApiError> {
        let Self { name, .. } = self;
        match value {
            None => Err(ApiError::invalid(format!("Field '{name}': must be provided"))),
            // A list with a number in it is one prompt; other lists are several.
            Some(Json::Array(list)) if !list.iter().any(Json::is_number) => {
                let (num_prompts, limit) = (list.len(), self.purpose.max_prompts());
                if !(1..=limit).contains(&num_prompts) {
                    let message = format!("Field '{name}': holds {num_prompts} prompts, 1 to {limit} may be");
                    return Err(ApiError::invalid(message));
                }
                list.iter().map(|prompt| self.one(prompt)).collect()
            }
            Some(prompt) => Ok(vec![self.one(prompt)?]),
        }
    }

    fn encode(self, text: &str, add_special: bool) -> Result<Vec<TokenId>, ApiError> {
        let at_least = text.len() / self.loaded.longest_piece;
        self.purpose.check_len(at_least, self.loaded)?;
        let options = EncodeOptions { add_special, parse_special: true };
        Ok(self.loaded.model.tokenizer.encode_unless(self.cancelled, text, options)?)
    }

    fn one(self, value: &Json) -> Result<Vec<TokenId>, ApiError> {
        let Self { name, .. } = self;
        let ids = match value {
            // Checked before the tokenizer adds what begins a text: nothing was asked for. An empty text has a vector where
            // the tokenizer adds something, as llama-server gives it.
            Json::String(text) if text.is_empty() && self.purpose == Purpose::Generate => Vec::new(),
            Json::String(text) => self.encode(text, true)?,
            Json::Array(parts) => self.mixed(parts)?,
            Json::Object(object) => self.object(object)?,
            other => return Err(wrong_type(name, EXPECTED, other)),
        };
        if ids.is_empty() {
            return Err(ApiError::invalid(format!(
                "Field '{name}': the prompt is empty, at least one token is needed"
            )));
        }
        Ok(ids)
    }

    fn mixed(self, parts: &[Json]) -> Result<Vec<TokenId>, ApiError> {
        let last = self.loaded.model.tokenizer.num_tokens() as i64 - 1;
        let mut ids = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            match part {
                // Only the beginning of a prompt gets the automatic first token.
                Json::String(text) => ids.extend(self.encode(text, i == 0)?),
                number => ids.push(TokenId(int(self.name, number, 0..=last)? as u32)),
            }
        }
        Ok(ids)
    }

    fn object(self, object: &serde_json::Map<String, Json>) -> Result<Vec<TokenId>, ApiError> {
        let Self { name, .. } = self;
        let data = object.get("multimodal_data").and_then(Json::as_array);
        if data.is_some_and(|d| !d.is_empty()) {
            return Err(ApiError::unsupported(format!("Field '{name}': multimodal data is not supported yet")));
        }
        match object.get("prompt_string") {
            Some(text @ Json::String(_)) => self.one(text),
            _ => Err(ApiError::invalid(format!("Field '{name}': an object needs \"prompt_string\""))),
        }
    }
}
