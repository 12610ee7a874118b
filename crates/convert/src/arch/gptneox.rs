//! GPT-NeoX and Pythia: each head's query, key and value are neighbours in one matrix.

use gguf::Value;

use super::{Family, Heads, Target, names::Table};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 2048, "use_parallel_residual": true}"#,
    keys,
    tensor,
    ..Family::new(&["GPTNeoXForCausalLM"], "gptneox", &[NAMES])
}];

const NAMES: Table = &[
    ("gpt_neox.embed_in", "token_embd"),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("embed_out", "output"),
    ("gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    ("gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv"),
    ("gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output"),
    ("gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"),
    ("gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"),
    ("gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"),
];

/// The format's readers expect no more than these, and the base of the rotations to be 10000.
fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    let theta = config.rope.float("rope_theta")?.unwrap_or(10_000.0);
    if theta != 10_000.0 {
        keys.set_float("rope.freq_base", theta);
    }
    keys.metadata.remove("general.file_type");
    keys.set_size("block_count", config.num_layers()?);
    keys.set_size("context_length", config.json.require_size("max_position_embeddings")?);
    keys.set_size("embedding_length", config.hidden_size()?);
    keys.set_size("feed_forward_length", config.json.require_size("intermediate_size")?);
    keys.set_size("attention.head_count", config.num_heads()?);
    keys.copy_float("attention.layer_norm_epsilon", config, &["layer_norm_eps"])?;
    keys.set_rotated_part(config, 0.25)?;
    let parallel = config.json.bool("use_parallel_residual")?.unwrap_or(true);
    keys.set("use_parallel_residual", Value::Bool(parallel));
    Ok(())
}

fn tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    let pick = if target.kind() == "attn_qkv" { Pick::Fused(heads.num_heads) } else { Pick::From(0) };
    Ok(vec![Recipe::reordered(target.name(), tensor, pick)?])
}
