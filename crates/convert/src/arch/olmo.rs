//! OLMo 2: norms behind the blocks, and over all heads of queries and keys. OLMoE: experts, and norms before the blocks.

use super::{
    Family,
    names::{DECODER, FFN_NORM, GATED, Table},
    qwen,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 2048}"#,
        ..Family::new(&["Olmo2ForCausalLM"], "olmo2", &[DECODER, GATED, NORMS])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "num_experts": 64,
            "num_experts_per_tok": 8}"#,
        keys: olmoe_keys,
        tensor: qwen::expert_tensor,
        ..Family::new(&["OlmoeForCausalLM"], "olmoe", &[DECODER, FFN_NORM, qwen::EXPERTS])
    },
];

/// Norms behind both blocks.
pub(super) const NORMS: Table = &[
    ("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"),
    ("model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"),
];

fn olmoe_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    // The model's code has a constant, whatever config.json says.
    keys.set_float("attention.layer_norm_rms_epsilon", 1e-5);
    Ok(())
}
