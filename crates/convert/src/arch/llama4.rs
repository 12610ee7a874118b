//! Llama 4's text model: experts in some layers, all of a layer in one tensor with inputs first.

use super::{
    Family, Heads, Target,
    llama::rope_freqs,
    names::{DECODER, FFN_NORM, Table},
    qwen::split_gate_up,
};
use crate::{ConvertError, config::Config, keys::Keys, recipe::Recipe, tensor::Tensor};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-5, "interleave_moe_layer_step": 1, "intermediate_size_mlp": 16384}"#,
    keys,
    tensor,
    extra: rope_freqs,
    ..Family::new(
        &["Llama4ForCausalLM", "Llama4ForConditionalGeneration"],
        "llama4",
        &[DECODER, FFN_NORM, FEED_FORWARD],
    )
}];

const FEED_FORWARD: Table = &[
    ("model.layers.{}.feed_forward.gate_proj", "blk.{}.ffn_gate"),
    ("model.layers.{}.feed_forward.up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.feed_forward.down_proj", "blk.{}.ffn_down"),
    ("model.layers.{}.feed_forward.router", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.feed_forward.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps"),
    ("model.layers.{}.feed_forward.experts.down_proj", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.feed_forward.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp"),
    ("model.layers.{}.feed_forward.shared_expert.up_proj", "blk.{}.ffn_up_shexp"),
    ("model.layers.{}.feed_forward.shared_expert.down_proj", "blk.{}.ffn_down_shexp"),
];

/// `intermediate_size` is that of experts.
fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_size("vocab_size", config.json.require_size("vocab_size")?);
    for key in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
        keys.set_size(key, config.head_dim()?);
    }
    keys.set_size("feed_forward_length", config.json.require_size("intermediate_size_mlp")?);
    keys.set_size("expert_feed_forward_length", config.json.require_size("intermediate_size")?);
    keys.set_size("interleave_moe_layer_step", config.json.require_size("interleave_moe_layer_step")?);
    let types = config.json.get("layer_types").and_then(|t| t.as_array());
    if types.is_some_and(|types| types.iter().all(|t| t.as_str() == Some("full_attention"))) {
        keys.set_size("attention.sliding_window", 0);
    }
    Ok(())
}

fn tensor(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    match target.kind() {
        "ffn_gate_up_exps" => split_gate_up(target, tensor.transposed()?, ["ffn_gate_exps", "ffn_up_exps"]),
        "ffn_down_exps" => Ok(vec![Recipe::rename(format!("{}.weight", target.base), tensor.transposed()?)]),
        _ => Ok(vec![Recipe::rename(target.name(), tensor)]),
    }
}
