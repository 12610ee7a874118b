//! Gemma 4's text model: layers of two kinds with heads of two sizes, keys and values that later layers share, vectors of
//! tokens for each layer, experts beside the feed-forward block.

use gguf::{Array, Value};
use serde_json::Value as JsonValue;

use super::{
    Family, VocabRules,
    names::{DECODER, GATED, POST_NORMS, Table},
};
use crate::{ConvertError, config::Config, keys::Keys, recipe::Recipe, tensor::Tensor};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 131072, "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 0, "sliding_window": 512}"#,
    keys,
    extra: rope_freqs,
    vocab: VocabRules {
        add_space_prefix: Some(false),
        adds_bos: true,
        merges_of_characters: Some("gemma4"),
        visible: &[
            "<|channel>",
            "<channel|>",
            "<|tool_call>",
            "<tool_call|>",
            "<|tool_response>",
            "<tool_response|>",
            "<|\"|>",
        ],
        ..VocabRules::NONE
    },
    ..Family::new(
        &["Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"],
        "gemma4",
        &[DECODER, POST_NORMS, GATED, PER_LAYER, EXPERTS],
    )
}];

const MAX_HEAD_DIM: usize = 1 << 16;

const PER_LAYER: Table = &[
    ("model.embed_tokens_per_layer", "per_layer_token_embd"),
    ("model.per_layer_model_projection", "per_layer_model_proj"),
    ("model.per_layer_projection_norm", "per_layer_proj_norm"),
    ("model.layers.{}.per_layer_input_gate", "blk.{}.inp_gate"),
    ("model.layers.{}.per_layer_projection", "blk.{}.proj"),
    ("model.layers.{}.post_per_layer_input_norm", "blk.{}.post_norm"),
    ("model.layers.{}.layer_scalar", "blk.{}.layer_output_scale.weight"),
];

const EXPERTS: Table = &[
    ("model.layers.{}.router.proj", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.router.scale", "blk.{}.ffn_gate_inp.scale"),
    ("model.layers.{}.router.per_expert_scale", "blk.{}.ffn_down_exps.scale"),
    ("model.layers.{}.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps.weight"),
    ("model.layers.{}.experts.down_proj", "blk.{}.ffn_down_exps.weight"),
    ("model.layers.{}.pre_feedforward_layernorm_2", "blk.{}.pre_ffw_norm_2"),
    ("model.layers.{}.post_feedforward_layernorm_1", "blk.{}.post_ffw_norm_1"),
    ("model.layers.{}.post_feedforward_layernorm_2", "blk.{}.post_ffw_norm_2"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    let size = |key| config.json.require_size(key);
    let (num_layers, num_shared) = (config.num_layers()?, size("num_kv_shared_layers")?);
    let sliding = config.sliding_layers()?.ok_or_else(|| config.json.wrong("layer_types", "a name for each layer"))?;
    if let Some(cap) = config.json.float("final_logit_softcapping")? {
        keys.set_float("final_logit_softcapping", cap);
    }
    keys.set_size("attention.sliding_window", size("sliding_window")?);
    keys.set_size("attention.shared_kv_layers", num_shared);
    keys.set_size("embedding_length_per_layer_input", size("hidden_size_per_layer_input")?);
    keys.copy_size("expert_feed_forward_length", config, &["expert_intermediate_size", "moe_intermediate_size"])?;
    let (full_dim, dim) = (full_head_dim(config)?, size("head_dim")?);
    for key in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
        keys.set_size(key, full_dim);
        keys.set_size(&format!("{key}_swa"), dim);
    }
    if config.json.bool("use_double_wide_mlp")?.unwrap_or(false) {
        let width = size("intermediate_size")?;
        let first_shared = num_layers.saturating_sub(num_shared);
        let widths = (0..num_layers).map(|layer| if layer < first_shared { width } else { width.saturating_mul(2) });
        keys.set("feed_forward_length", sizes(widths));
    }
    if let Some(full) = of_full_layers(config, "num_global_key_value_heads", "num_key_value_heads")? {
        let heads = config.num_kv_heads()?;
        keys.set("attention.head_count_kv", sizes(sliding.iter().map(|slides| if *slides { heads } else { full })));
    }
    keys.set("attention.sliding_window_pattern", Value::Array(Array::Bool(sliding)));
    Ok(())
}

fn sizes(sizes: impl Iterator<Item = usize>) -> Value {
    Value::Array(Array::Int(sizes.map(|size| size as i64).collect()))
}

fn full_head_dim(config: &Config) -> Result<usize, ConvertError> {
    let dim = of_full_layers(config, "global_head_dim", "head_dim")?;
    let dim = dim.filter(|dim| *dim <= MAX_HEAD_DIM);
    dim.ok_or_else(|| config.json.wrong("global_head_dim", "the size of heads that see the full context"))
}

/// A size of the layers that see the full context: under a name of its own, or among those of single layers.
fn of_full_layers(config: &Config, key: &str, layer_key: &str) -> Result<Option<usize>, ConvertError> {
    if let Some(size) = config.json.size(key)? {
        return Ok(Some(size));
    }
    let (Some(layers), Some(sliding)) =
        (config.json.get("per_layer_config").and_then(JsonValue::as_object), config.sliding_layers()?)
    else {
        return Ok(None);
    };
    let full = sliding.iter().enumerate().filter(|(_, slides)| !**slides);
    let mut sizes = full.filter_map(|(layer, _)| layers.get(&layer.to_string())?.get(layer_key)?.as_u64());
    Ok(sizes.next().map(|size| size as usize))
}

/// Layers with the full context rotate a part of each head, whose pairs are spread over all of it: the other pairs' angles
/// are divided by so much that they vanish.
fn rope_freqs(config: &Config) -> Result<Vec<Recipe>, ConvertError> {
    if config.rope.str("rope_type")? != Some("proportional") {
        return Err(config.rope.wrong("rope_type", "`proportional`"));
    }
    let dim = full_head_dim(config)?;
    let part = config.rope.float("partial_rotary_factor")?.unwrap_or(1.0);
    let num_rotated = (dim as f64 * part / 2.0) as usize;
    let factors: Vec<f32> = (0..dim / 2).map(|i| if i < num_rotated { 1.0 } else { 1e30 }).collect();
    let tensor = Tensor::of_values("rope_freqs.weight", vec![factors.len()], factors);
    Ok(vec![Recipe::rename("rope_freqs.weight".to_owned(), tensor)])
}
