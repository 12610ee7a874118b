//! The sampling fields that all generating routes share.

use std::hash::{BuildHasher, RandomState};

use serde_json::Value as Json;
use text::{EncodeOptions, Tokenizer};
use types::{SamplingParams, TokenId};

use super::fields::{Fields, int, wrong_type};
use crate::{config::Defaults, error::ApiError};

/// Numbers that JSON can say and f32 can hold.
const ANY: std::ops::RangeInclusive<f64> = -1e30..=1e30;

/// Reads the sampler chain's parameters; `num_logprobs` is the route's own business.
pub(crate) fn parse(fields: &Fields, defaults: &Defaults, tokenizer: &Tokenizer) -> Result<SamplingParams, ApiError> {
    let d = &defaults.params;
    let count = |n: Option<i64>, default: u32| n.map_or(default, |n| n.max(0) as u32);
    // -1 asks for the whole context; no context is longer than this.
    let last_n = |n: i64| if n < 0 { u32::MAX } else { n as u32 };
    Ok(SamplingParams {
        temperature: fields.float("temperature", ANY)?.unwrap_or(d.temperature),
        top_k: count(fields.int("top_k", i64::from(i32::MIN)..=i64::from(i32::MAX))?, d.top_k),
        top_p: fields.float("top_p", ANY)?.unwrap_or(d.top_p),
        min_p: fields.float("min_p", ANY)?.unwrap_or(d.min_p),
        repeat_penalty: fields.float("repeat_penalty", 1e-6..=1e6)?.unwrap_or(d.repeat_penalty),
        repeat_last_n: fields.int("repeat_last_n", -1..=i64::from(i32::MAX))?.map_or(d.repeat_last_n, last_n),
        frequency_penalty: fields.float("frequency_penalty", ANY)?.unwrap_or(d.frequency_penalty),
        presence_penalty: fields.float("presence_penalty", ANY)?.unwrap_or(d.presence_penalty),
        logit_bias: logit_bias(fields.get("logit_bias"), tokenizer)?,
        min_keep: count(fields.int("min_keep", 0..=i64::from(i32::MAX))?, d.min_keep),
        seed: seed(fields, defaults)?,
        num_logprobs: None,
    })
}

/// -1, as well as no seed at all, draws one.
fn seed(fields: &Fields, defaults: &Defaults) -> Result<u32, ApiError> {
    // Every `RandomState` has other keys.
    let random = || RandomState::new().hash_one(0) as u32;
    let given = fields.int("seed", -1..=i64::from(u32::MAX))?;
    Ok(match given {
        Some(n) if n >= 0 && n < i64::from(u32::MAX) => n as u32,
        Some(_) => random(),
        None => defaults.seed.unwrap_or_else(random),
    })
}

/// A list of pairs (id or text, bias or false), or an object from ids or texts to biases.
fn logit_bias(value: Option<&Json>, tokenizer: &Tokenizer) -> Result<Vec<(TokenId, f32)>, ApiError> {
    const NAME: &str = "logit_bias";
    const PAIR: &str = "a list of [token, bias] pairs or an object of biases";
    let mut biases = Vec::new();
    match value {
        None => {}
        Some(Json::Object(object)) => {
            for (key, value) in object {
                let token = key.parse::<i64>().map_or_else(|_| Json::from(key.as_str()), Json::from);
                add_bias(&mut biases, &token, value, tokenizer)?;
            }
        }
        Some(Json::Array(pairs)) => {
            for pair in pairs {
                match pair.as_array().map(Vec::as_slice) {
                    Some([token, value]) => add_bias(&mut biases, token, value, tokenizer)?,
                    _ => return Err(wrong_type(NAME, PAIR, pair)),
                }
            }
        }
        Some(other) => return Err(wrong_type(NAME, PAIR, other)),
    }
    Ok(biases)
}

fn add_bias(
    biases: &mut Vec<(TokenId, f32)>,
    token: &Json,
    value: &Json,
    tokenizer: &Tokenizer,
) -> Result<(), ApiError> {
    const NAME: &str = "logit_bias";
    let bias = match value {
        Json::Bool(false) => f32::NEG_INFINITY,
        other => other.as_f64().ok_or_else(|| wrong_type(NAME, "a number or false for each token", other))? as f32,
    };
    match token {
        Json::String(text) => {
            let ids = tokenizer.encode(text, EncodeOptions { add_special: false, parse_special: false })?;
            biases.extend(ids.into_iter().map(|id| (id, bias)));
        }
        number => {
            let last = tokenizer.num_tokens() as i64 - 1;
            biases.push((TokenId(int(NAME, number, 0..=last)? as u32), bias));
        }
    }
    Ok(())
}
