//! Phi-3 and Phi-4: queries, keys and values in one matrix, gate and up in another.

use super::{
    Family,
    names::{DECODER, FFN_NORM, GATED, Table},
};
use crate::{ConvertError, config::Config, keys::Keys, recipe::Recipe, tensor::Tensor};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "partial_rotary_factor": 1.0}"#,
    keys,
    extra: long_rope,
    ..Family::new(&["Phi3ForCausalLM"], "phi3", &[DECODER, FFN_NORM, GATED, FUSED])
}];

const FUSED: Table =
    &[("model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv"), ("model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up")];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_rotated_part(config, 1.0)?;
    keys.set_size("rope.scaling.original_context_length", original_context(config)?);
    keys.set_size("attention.sliding_window", config.json.size("sliding_window")?.unwrap_or(0));
    if let Some(factor) = attention_factor(config)? {
        keys.set_float("rope.scaling.attn_factor", factor);
    }
    keys.remove("rope.scaling.type");
    keys.remove("attention.key_length");
    keys.remove("attention.value_length");
    Ok(())
}

fn original_context(config: &Config) -> Result<usize, ConvertError> {
    let given = config.rope.size("original_max_position_embeddings")?;
    given.map_or_else(|| config.require_size(&["n_positions", "max_position_embeddings"]), Ok)
}

/// Attention is scaled with the logarithm of how much longer the context became.
fn attention_factor(config: &Config) -> Result<Option<f64>, ConvertError> {
    if config.rope.get("long_factor").is_none() {
        return Ok(None);
    }
    let original = original_context(config)? as f64;
    let scale = config.require_size(&["n_positions", "max_position_embeddings"])? as f64 / original;
    let factor = if scale <= 1.0 {
        1.0
    } else if config.rope.str("rope_type")? == Some("yarn") {
        0.1 * scale.ln() + 1.0
    } else {
        (1.0 + scale.ln() / original.ln()).sqrt()
    };
    Ok(Some(factor))
}

/// The frequencies' divisors for contexts beyond and within the original one.
fn long_rope(config: &Config) -> Result<Vec<Recipe>, ConvertError> {
    let mut recipes = Vec::new();
    for (key, name) in [("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")] {
        let Some(list) = config.rope.get(key) else { continue };
        let numbers: Option<Vec<f32>> =
            list.as_array().and_then(|l| l.iter().map(|x| Some(x.as_f64()? as f32)).collect());
        let numbers = numbers.ok_or_else(|| config.rope.wrong(key, "a list of numbers"))?;
        recipes.push(Recipe::rename(name.to_owned(), Tensor::of_values(key, vec![numbers.len()], numbers)));
    }
    Ok(recipes)
}
