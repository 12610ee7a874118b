//! Command R and its successor: attention and feed-forward in parallel, scaled logits.

use gguf::Value;

use super::{
    Family,
    names::{DECODER, GATED},
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 8192, "logit_scale": 0.0625}"#,
        keys,
        ..Family::new(&["CohereForCausalLM"], "command-r", &[DECODER, GATED])
    },
    Family {
        defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 8192, "logit_scale": 0.0625,
            "sliding_window": 4096, "rotary_pct": 1.0}"#,
        keys: cohere2_keys,
        ..Family::new(&["Cohere2ForCausalLM"], "cohere2", &[DECODER, GATED])
    },
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    // The first models were trained on a longer context than `max_position_embeddings` says.
    keys.copy_size("context_length", config, &["model_max_length", "max_position_embeddings"])?;
    keys.copy_float("logit_scale", config, &["logit_scale"])?;
    keys.set("rope.scaling.type", Value::String("none".to_owned()));
    Ok(())
}

/// Three of four layers see a window.
fn cohere2_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.copy_float("logit_scale", config, &["logit_scale"])?;
    keys.copy_size("attention.sliding_window", config, &["sliding_window"])?;
    keys.set_size("vocab_size", config.json.require_size("vocab_size")?);
    keys.set_rotated_part(config, 1.0)?;
    keys.set("rope.scaling.type", Value::String("none".to_owned()));
    Ok(())
}
