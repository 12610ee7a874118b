//! From the shared fields of a generating request to jobs for the engine.

use std::time::Duration;

use types::TokenId;

use super::{fields::Fields, prompt::Purpose, refused, sampling};
use crate::{
    config::{Defaults, ServerConfig},
    error::ApiError,
    generate::Job,
    state::Loaded,
};

/// Stop words of one request at most, and the longest one.
const MAX_STOP_WORDS: usize = 256;
const MAX_STOP_BYTES: usize = 4096;
/// Names of the limit on generated tokens, the ones that count first.
const LIMIT_NAMES: &[&str] = &["n_predict", "max_completion_tokens", "max_tokens"];

/// The job of a prompt's first choice. `num_logprobs` comes from the route, whose field for it is its own.
pub(crate) fn parse(
    fields: &Fields,
    num_logprobs: Option<u32>,
    defaults: &Defaults,
    loaded: &Loaded,
) -> Result<Job, ApiError> {
    refused::check(fields)?;
    let mut params = sampling::parse(fields, defaults, &loaded.model.tokenizer)?;
    params.num_logprobs = num_logprobs;
    Ok(Job {
        params,
        max_tokens: max_tokens(fields, defaults.max_tokens)?,
        max_time: max_time(fields)?,
        stop: stop_words(fields)?,
        ignore_eos: fields.bool("ignore_eos", false)?,
        cache_prompt: fields.bool("cache_prompt", defaults.cache_prompt)?,
        received_at: fields.received_at,
        prompt: Vec::new(),
    })
}

/// How many choices of each prompt are asked for; errors name the field that was used.
pub(crate) fn num_choices(fields: &Fields, config: &ServerConfig) -> Result<u32, ApiError> {
    let name = if fields.get("n_cmpl").is_some() { "n_cmpl" } else { "n" };
    Ok(fields.int(name, 1..=config.max_choices as i64)?.unwrap_or(1) as u32)
}

/// One job a choice, the choices of the first prompt first, each with its own seed.
///
/// # Errors
/// When a prompt leaves no room for an answer.
pub(crate) fn spread(
    job: &Job,
    prompts: Vec<Vec<TokenId>>,
    num_choices: u32,
    loaded: &Loaded,
) -> Result<Vec<Job>, ApiError> {
    prompts.iter().try_for_each(|prompt| Purpose::Generate.check_len(prompt.len(), loaded))?;
    loaded.metrics.num_choices(num_choices as usize);
    let choices = |prompt: Vec<TokenId>| {
        (0..num_choices).map(move |choice| {
            let mut job = Job { prompt: prompt.clone(), ..job.clone() };
            job.params.seed = job.params.seed.wrapping_add(choice);
            job
        })
    };
    Ok(prompts.into_iter().flat_map(choices).collect())
}

fn max_tokens(fields: &Fields, default: Option<usize>) -> Result<Option<usize>, ApiError> {
    let Some((name, value)) = fields.first(LIMIT_NAMES) else { return Ok(default) };
    let limit = super::fields::int(name, value, -1..=i64::from(i32::MAX))?;
    Ok(usize::try_from(limit).ok())
}

/// 0 and less set no limit.
fn max_time(fields: &Fields) -> Result<Option<Duration>, ApiError> {
    let millis = fields.int("t_max_predict_ms", i64::MIN..=i64::MAX)?.unwrap_or(0);
    Ok(u64::try_from(millis).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
}

fn stop_words(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let mut words = fields.strings("stop")?;
    words.retain(|w| !w.is_empty());
    if words.len() > MAX_STOP_WORDS {
        return Err(ApiError::invalid(format!("Field 'stop': {} words, at most {MAX_STOP_WORDS} may be", words.len())));
    }
    if let Some(word) = words.iter().find(|w| w.len() > MAX_STOP_BYTES) {
        let found = word.len();
        return Err(ApiError::invalid(format!(
            "Field 'stop': a word of {found} bytes, at most {MAX_STOP_BYTES} may be"
        )));
    }
    Ok(words)
}
