//! Fields that ask for what is not there: an answer without them would be another answer, so they are refused.

use serde_json::Value as Json;

use super::fields::Fields;
use crate::error::ApiError;

/// Whether a value leaves a feature off.
type IsOff = fn(f64) -> bool;

/// What would change the choice of tokens: the field and the values that leave it off.
const SAMPLERS: &[(&str, IsOff)] = &[
    ("dynatemp_range", |x| x <= 0.0),
    ("typical_p", |x| x >= 1.0),
    ("top_n_sigma", |x| x <= 0.0),
    ("xtc_probability", |x| x <= 0.0),
    ("dry_multiplier", |x| x == 0.0),
    ("mirostat", |x| x == 0.0),
    ("adaptive_target", |x| x < 0.0),
    ("n_cache_reuse", |x| x == 0.0),
    ("n_indent", |x| x == 0.0),
];
/// Further output that cannot be given.
const OUTPUT: &[(&str, &str)] = &[
    ("post_sampling_probs", "is not supported, probabilities are those of the model before the sampler chain"),
    ("return_progress", "is not supported yet"),
];

/// The chain that can be asked for by name: every sampler that can be on, in the one order there is.
const CHAIN: &[&str] =
    &["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "typical_p", "top_p", "min_p", "xtc", "temperature"];
/// Those of [`CHAIN`] that must be named.
const NEEDED: &[&str] = &["penalties", "top_k", "top_p", "min_p", "temperature"];

/// Checks the fields that all generating routes share.
pub(crate) fn check(fields: &Fields) -> Result<(), ApiError> {
    for (name, is_off) in SAMPLERS {
        if fields.get(name).is_some_and(|v| !v.as_f64().is_some_and(is_off)) {
            return Err(ApiError::unsupported(format!(
                "Field '{name}': only the value that turns it off is supported yet"
            )));
        }
    }
    for (name, why) in OUTPUT {
        if fields.bool(name, false)? {
            return Err(ApiError::unsupported(format!("Field '{name}': true {why}")));
        }
    }
    for name in ["grammar", "json_schema"] {
        if fields.get(name).is_some_and(|v| v.as_str() != Some("")) {
            return Err(ApiError::unsupported(format!("Field '{name}': constrained output is not supported yet")));
        }
    }
    if fields.get("lora").is_some_and(|v| v.as_array().is_none_or(|a| !a.is_empty())) {
        return Err(ApiError::unsupported("Field 'lora': adapters are not supported yet"));
    }
    if let Some(format) = fields.get("response_format") {
        check_response_format(format)?;
    }
    fields.get("samplers").map_or(Ok(()), check_samplers)
}

fn check_response_format(format: &Json) -> Result<(), ApiError> {
    match format.get("type").and_then(Json::as_str) {
        Some("text") => Ok(()),
        Some(kind @ ("json_object" | "json_schema")) => {
            Err(ApiError::unsupported(format!("Field 'response_format': `{kind}` is not supported yet, `text` is")))
        }
        _ => Err(ApiError::invalid(
            "Field 'response_format': \"type\" must be one of \"text\", \"json_object\" and \"json_schema\"",
        )),
    }
}

fn check_samplers(value: &Json) -> Result<(), ApiError> {
    let names: Option<Vec<&str>> = value.as_array().map(|a| a.iter().filter_map(Json::as_str).collect());
    let mut order = CHAIN.iter();
    let fits = names.as_ref().is_some_and(|names| {
        names.iter().all(|name| order.any(|known| known == name)) && NEEDED.iter().all(|n| names.contains(n))
    });
    if fits {
        return Ok(());
    }
    let needed = NEEDED.join(", ");
    Err(ApiError::unsupported(format!(
        "Field 'samplers': only the default order is supported yet, with {needed} in it"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Fields, check};

    fn accepts(json: Json) -> bool {
        check(&Fields::from_json(json)).is_ok()
    }

    #[test]
    fn what_changes_nothing_passes() {
        assert!(accepts(json!({ "mirostat": 0, "typical_p": 1.0, "grammar": "", "lora": [], "grammar_lazy": true })));
        assert!(accepts(json!({ "samplers": ["penalties", "dry", "top_k", "top_p", "min_p", "temperature"] })));
        assert!(accepts(json!({ "response_format": { "type": "text" } })));
    }

    #[test]
    fn what_would_change_the_answer_is_refused() {
        assert!(!accepts(json!({ "mirostat": 2 })));
        assert!(!accepts(json!({ "grammar": "root ::= \"a\"" })));
        assert!(!accepts(json!({ "samplers": ["temperature", "top_k", "top_p", "min_p", "penalties"] })));
        assert!(!accepts(json!({ "samplers": ["top_k"] })));
        assert!(!accepts(json!({ "response_format": { "type": "json_object" } })));
        assert!(!accepts(json!({ "response_format": "text" })));
    }
}
