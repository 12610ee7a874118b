//! The JSON of answers: what all of them have in common, and a file for each family of routes.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod logprobs;
pub(crate) mod native;
pub(crate) mod settings;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value as Json, json};
use text::Tokenizer;

use super::fields::Fields;
use crate::{
    error::ApiError,
    generate::{Delta, Figures, Whole},
    state::{Loaded, unix_time},
};

/// What `system_fingerprint` and `build_info` say.
pub(crate) const BUILD: &str = concat!("llcuda-", env!("CARGO_PKG_VERSION"));
const DEFAULT_PING: Duration = Duration::from_secs(30);

/// How an answer is delivered, whichever route gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// As events, while it is generated.
    pub(crate) stream: bool,
    /// A sign of life in a stream after so long a silence.
    pub(crate) ping: Option<Duration>,
}

impl Delivery {
    pub(crate) fn parse(fields: &Fields) -> Result<Self, ApiError> {
        let seconds = fields.int("sse_ping_interval", -1..=86_400)?;
        let ping = match seconds {
            None => Some(DEFAULT_PING),
            Some(seconds) => u64::try_from(seconds).ok().filter(|s| *s > 0).map(Duration::from_secs),
        };
        Ok(Self { stream: fields.bool("stream", false)?, ping })
    }
}

/// What stands at the head of every OpenAI answer, and what the client wants in it.
pub(crate) struct Head {
    id: String,
    model: String,
    created: u64,
    include_usage: bool,
    timings_per_token: bool,
    /// Whether log probabilities were asked for.
    logprobs: bool,
    tokenizer: Arc<Tokenizer>,
}

impl Head {
    pub(crate) fn parse(prefix: &str, fields: &Fields, logprobs: bool, loaded: &Loaded) -> Result<Self, ApiError> {
        let include_usage = match fields.object("stream_options")?.and_then(|options| options.get("include_usage")) {
            None | Some(Json::Null) => false,
            Some(Json::Bool(include)) => *include,
            Some(other) => return Err(super::fields::wrong_type("stream_options.include_usage", "a boolean", other)),
        };
        Ok(Self {
            id: format!("{prefix}-{}", random_id()),
            model: fields.string("model")?.unwrap_or(&loaded.model.info.id).to_owned(),
            created: unix_time(),
            include_usage,
            timings_per_token: fields.bool("timings_per_token", false)?,
            logprobs,
            tokenizer: Arc::clone(&loaded.model.tokenizer),
        })
    }

    /// An answer or a chunk with these choices.
    fn object(&self, kind: &str, choices: Vec<Json>) -> Json {
        json!({
            "choices": choices,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": BUILD,
            "object": kind,
            "id": self.id,
        })
    }
}

/// 32 random characters.
fn random_id() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

/// Sums up the tokens of a request. `num_choices`: how many choices in a row have the same prompt, which counts once.
fn usage<'a>(figures: impl Iterator<Item = &'a Figures>, num_choices: usize) -> Json {
    let (mut prompt, mut cached, mut generated) = (0, 0, 0);
    for (i, figures) in figures.enumerate() {
        generated += figures.num_generated;
        if i % num_choices == 0 {
            prompt += figures.num_prompt;
            cached += figures.num_cached;
        }
    }
    json!({
        "completion_tokens": generated,
        "prompt_tokens": prompt,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

/// Sums up the tokens of complete choices.
fn usage_of(choices: &[Whole], num_choices: usize) -> Json {
    usage(choices.iter().map(|choice| &choice.figures), num_choices)
}

/// Counts, times and speeds of a choice. The rate of generation leaves out the first token, whose time is the prompt's.
fn timings(figures: &Figures) -> Json {
    let num_computed = figures.num_prompt.saturating_sub(figures.num_cached);
    let (prompt_ms, ms) = (millis(figures.prefill_time), millis(figures.decode_time));
    let num_gaps = figures.num_generated.saturating_sub(1);
    json!({
        "cache_n": figures.num_cached,
        "prompt_n": num_computed,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": ratio(prompt_ms, num_computed as f64),
        "prompt_per_second": ratio(1e3 * num_computed as f64, prompt_ms),
        "predicted_n": figures.num_generated,
        "predicted_ms": ms,
        "predicted_per_token_ms": ratio(ms, num_gaps as f64),
        "predicted_per_second": ratio(1e3 * num_gaps as f64, ms),
    })
}

/// The part of [`timings`] that is known before the end.
fn timings_so_far(delta: &Delta) -> Json {
    let ms = millis(delta.decode_time);
    let num_gaps = delta.num_tokens.saturating_sub(1);
    json!({
        "predicted_n": delta.num_tokens,
        "predicted_ms": ms,
        "predicted_per_token_ms": ratio(ms, num_gaps as f64),
        "predicted_per_second": ratio(1e3 * num_gaps as f64, ms),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// 0 where nothing was measured.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_counts_once_for_all_its_choices() {
        let figures =
            |num_prompt, num_generated| Figures { num_prompt, num_cached: 2, num_generated, ..Figures::default() };
        let all = [figures(10, 1), figures(10, 2), figures(20, 3), figures(20, 4)];
        let usage = usage(all.iter(), 2);
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(30), &json!(10)));
        assert_eq!((&usage["total_tokens"], &usage["prompt_tokens_details"]["cached_tokens"]), (&json!(40), &json!(4)));
    }

    #[test]
    fn speeds_are_finite() {
        let timings = timings(&Figures { num_prompt: 4, num_generated: 1, ..Figures::default() });
        assert_eq!(timings["predicted_per_second"], 0.0);
        let half = Duration::from_millis(500);
        let figures = Figures {
            num_prompt: 12,
            num_cached: 2,
            num_generated: 11,
            decode_time: half,
            prefill_time: half,
            ..Figures::default()
        };
        assert_eq!(super::timings(&figures)["predicted_per_second"], 20.0);
        assert_eq!(super::timings(&figures)["prompt_per_second"], 20.0);
    }

    #[test]
    fn ids_differ() {
        assert_ne!(random_id(), random_id());
        assert_eq!(random_id().len(), 32);
    }
}
