//! Falcon: groups of queries, a key and a value are sorted into all queries, all keys, all values.

use gguf::Value;

use super::{Family, Heads, Target, names::Table};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Part, Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"layer_norm_epsilon": 1e-5, "num_kv_heads": 1}"#,
    keys,
    tensor,
    ..Family::new(&["FalconForCausalLM", "RWForCausalLM"], "falcon", &[NAMES])
}];

const NAMES: Table = &[
    ("transformer.word_embeddings", "token_embd"),
    ("transformer.ln_f", "output_norm"),
    ("lm_head", "output"),
    ("transformer.h.{}.input_layernorm", "blk.{}.attn_norm"),
    ("transformer.h.{}.ln_attn", "blk.{}.attn_norm_2"),
    ("transformer.h.{}.ln_mlp", "blk.{}.attn_norm"),
    ("transformer.h.{}.self_attention.query_key_value", "blk.{}.attn_qkv"),
    ("transformer.h.{}.self_attention.dense", "blk.{}.attn_output"),
    ("transformer.h.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"),
    ("transformer.h.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    let hidden_size = config.hidden_size()?;
    // The context is not in config.json.
    keys.set_size("context_length", 2048);
    keys.set("tensor_data_layout", Value::String("jploski".to_owned()));
    keys.set_size("embedding_length", hidden_size);
    keys.set_size("feed_forward_length", 4 * hidden_size);
    keys.set_size("block_count", config.num_layers()?);
    keys.set_size("attention.head_count", config.num_heads()?);
    keys.set_size("attention.head_count_kv", config.num_kv_heads()?);
    keys.copy_float("attention.layer_norm_epsilon", config, &["layer_norm_epsilon"])
}

fn tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    if target.kind() != "attn_qkv" {
        return Ok(vec![Recipe::rename(target.name(), tensor)]);
    }
    let &Heads { num_heads, num_kv_heads, .. } = heads;
    let head_dim = tensor.num_cols().checked_div(num_heads).unwrap_or(0);
    let num_groups = num_kv_heads.max(1);
    let queries = num_heads / num_groups;
    if tensor.shape.len() != 2 || tensor.num_rows() != num_groups * (queries + 2) * head_dim {
        let what = format!("of shape {:?} does not hold {num_heads} heads in {num_groups} groups", tensor.shape);
        return Err(tensor.error(what));
    }
    let part = |group: usize, first_head: usize, heads: usize| {
        let pick = Pick::From((group * (queries + 2) + first_head) * head_dim);
        Part { tensor: tensor.clone(), num_rows: heads * head_dim, pick }
    };
    let kinds = [(0, queries), (queries, 1), (queries + 1, 1)];
    let parts = kinds.iter().flat_map(|&(first, heads)| (0..num_groups).map(move |g| (g, first, heads)));
    let parts = parts.map(|(group, first, heads)| part(group, first, heads)).collect();
    Ok(vec![Recipe::of_parts(target.name(), tensor.shape.clone(), parts)])
}
