//! Command R and its successor: attention and feed-forward in parallel, scaled logits.

use gguf::Value;

use super::{
    Family, VocabRules,
    names::{DECODER, GATED},
    nothing, rename,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[
    Family {
        classes: &["CohereForCausalLM"],
        arch: "command-r",
        tables: &[DECODER, GATED],
        defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 8192, "logit_scale": 0.0625}"#,
        keys,
        tensor: rename,
        extra: nothing,
        vocab: VOCAB,
    },
    Family {
        classes: &["Cohere2ForCausalLM"],
        arch: "cohere2",
        tables: &[DECODER, GATED],
        defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 8192, "logit_scale": 0.0625,
            "sliding_window": 4096, "rotary_pct": 1.0}"#,
        keys: cohere2_keys,
        tensor: rename,
        extra: nothing,
        vocab: VOCAB,
    },
];

const VOCAB: VocabRules =
    VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] };

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
    let rotary = config.json.float("rotary_pct")?.unwrap_or(1.0);
    let head_dim = config.hidden_size()?.checked_div(config.num_heads()?).unwrap_or(0);
    keys.set_size("rope.dimension_count", (rotary * head_dim as f64) as usize);
    keys.set("rope.scaling.type", Value::String("none".to_owned()));
    Ok(())
}
