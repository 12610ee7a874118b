//! `generation_settings`: what a request really ran with, under llama-server's names.

use serde_json::{Value as Json, json};
use types::SamplingParams;

/// The chain, in its order.
const SAMPLERS: &[&str] =
    &["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"];

/// The parameters of the sampler chain; what is not there is shown as off.
pub(crate) fn sampling(params: &SamplingParams) -> Json {
    // u32::MAX stands for the whole context, which llama-server calls -1.
    let last_n = i32::try_from(params.repeat_last_n).unwrap_or(-1);
    let biases = params.logit_bias.iter().map(|(token, bias)| json!({ "token": token.0, "bias": bias }));
    json!({
        "seed": params.seed,
        "temperature": params.temperature,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": params.min_p,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "typical_p": 1.0,
        "repeat_last_n": last_n,
        "repeat_penalty": params.repeat_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "dry_multiplier": 0.0,
        "mirostat": 0,
        "min_keep": params.min_keep,
        "n_probs": params.num_logprobs.unwrap_or(0),
        "logit_bias": biases.collect::<Vec<_>>(),
        "samplers": SAMPLERS,
        "grammar": "",
        "lora": [],
    })
}

/// The limit on tokens as llama-server writes it: -1 is none.
pub(crate) fn max_tokens(max_tokens: Option<usize>) -> i64 {
    max_tokens.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)
}
