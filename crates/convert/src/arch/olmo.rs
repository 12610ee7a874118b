//! OLMo 2: norms behind the blocks, and over all heads of queries and keys. OLMoE: experts, and norms before the blocks.

use super::{
    Family, VocabRules, common_keys,
    names::{DECODER, FFN_NORM, GATED, Table},
    nothing, qwen, rename,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[
    Family {
        classes: &["Olmo2ForCausalLM"],
        arch: "olmo2",
        tables: &[DECODER, GATED, NORMS],
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 2048}"#,
        keys: common_keys,
        tensor: rename,
        extra: nothing,
        vocab: VOCAB,
    },
    Family {
        classes: &["OlmoeForCausalLM"],
        arch: "olmoe",
        tables: &[DECODER, FFN_NORM, qwen::EXPERTS],
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "num_experts": 64,
            "num_experts_per_tok": 8}"#,
        keys: olmoe_keys,
        tensor: qwen::expert_tensor,
        extra: nothing,
        vocab: VOCAB,
    },
];

const VOCAB: VocabRules =
    VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] };

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
