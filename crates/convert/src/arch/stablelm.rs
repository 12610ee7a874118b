//! StableLM: layer norms, a part of each head rotated, norms per head stacked.

use gguf::Value;

use super::{
    Family,
    names::{DECODER, FFN_NORM, GATED, Table},
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 4096, "partial_rotary_factor": 0.25}"#,
    keys,
    ..Family::new(
        &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
        "stablelm",
        &[DECODER, FFN_NORM, GATED, HEAD_NORMS],
    )
}];

const HEAD_NORMS: Table = &[
    ("model.layers.{}.self_attn.q_layernorm.norms.{}", "blk.{}.attn_q_norm"),
    ("model.layers.{}.self_attn.k_layernorm.norms.{}", "blk.{}.attn_k_norm"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.copy_float("attention.layer_norm_epsilon", config, &["layer_norm_eps", "norm_eps"])?;
    keys.set_rotated_part(config, 0.25)?;
    let parallel = config.json.bool("use_parallel_residual")?.unwrap_or(true);
    keys.set("use_parallel_residual", Value::Bool(parallel));
    for key in ["rope.freq_base", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon"]
    {
        keys.remove(key);
    }
    Ok(())
}
