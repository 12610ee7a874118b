//! GPT-2, whose matrices are stored with inputs first, and StarCoder, whose heads share a key and a value.

use super::{Family, Heads, Target, names::Table};
use crate::{ConvertError, config::Config, keys::Keys, recipe::Recipe, tensor::Tensor};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"layer_norm_epsilon": 1e-5, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}"#,
        keys,
        tensor,
        ..Family::new(&["GPT2LMHeadModel"], "gpt2", &[NAMES, NAMES_WITHOUT_PREFIX])
    },
    Family {
        defaults: r#"{"layer_norm_epsilon": 1e-5, "n_positions": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}"#,
        keys: starcoder_keys,
        ..Family::new(&["GPTBigCodeForCausalLM"], "starcoder", &[NAMES])
    },
];

const NAMES: Table = &[
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
    ("lm_head", "output"),
    ("transformer.h.{}.ln_1", "blk.{}.attn_norm"),
    ("transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv"),
    ("transformer.h.{}.attn.c_proj", "blk.{}.attn_output"),
    ("transformer.h.{}.ln_2", "blk.{}.ffn_norm"),
    ("transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up"),
    ("transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down"),
];

/// The first checkpoints.
const NAMES_WITHOUT_PREFIX: Table = &[
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("ln_f", "output_norm"),
    ("h.{}.ln_1", "blk.{}.attn_norm"),
    ("h.{}.attn.c_attn", "blk.{}.attn_qkv"),
    ("h.{}.attn.c_proj", "blk.{}.attn_output"),
    ("h.{}.ln_2", "blk.{}.ffn_norm"),
    ("h.{}.mlp.c_fc", "blk.{}.ffn_up"),
    ("h.{}.mlp.c_proj", "blk.{}.ffn_down"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    let hidden_size = config.hidden_size()?;
    keys.set_size("block_count", config.num_layers()?);
    keys.set_size("context_length", config.require_size(&["n_ctx", "n_positions"])?);
    keys.set_size("embedding_length", hidden_size);
    keys.set_size("feed_forward_length", 4 * hidden_size);
    keys.set_size("attention.head_count", config.num_heads()?);
    keys.copy_float("attention.layer_norm_epsilon", config, &["layer_norm_epsilon"])
}

fn starcoder_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    if config.json.bool("multi_query")? == Some(false) {
        return Err(config.json.wrong("multi_query", "true: all heads share a key and a value"));
    }
    self::keys(keys, config)?;
    keys.set_size("attention.head_count_kv", 1);
    Ok(())
}

fn tensor(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    let is_matrix = tensor.shape.len() == 2;
    let tensor = match target.kind() {
        "attn_qkv" | "attn_output" | "ffn_up" | "ffn_down" if is_matrix => tensor.transposed()?,
        _ => tensor,
    };
    Ok(vec![Recipe::rename(target.name(), tensor)])
}
