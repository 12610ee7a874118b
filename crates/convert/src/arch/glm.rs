//! GLM-4: half of each head is rotated, gate and up in one matrix.

use super::{
    Family, VocabRules,
    names::{DECODER, Table},
    nothing, rename,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["Glm4ForCausalLM"],
    arch: "glm4",
    tables: &[DECODER, NAMES],
    defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 131072}"#,
    keys,
    tensor: rename,
    extra: nothing,
    vocab: VocabRules {
        add_space_prefix: None,
        copies_space_prefix: false,
        special: &[],
        special_texts: &[
            ("eos", "<|endoftext|>"),
            ("eot", "<|user|>"),
            ("unk", "<|endoftext|>"),
            ("bos", "<|endoftext|>"),
        ],
    },
}];

const NAMES: Table = &[
    ("model.layers.{}.post_self_attn_layernorm", "blk.{}.post_attention_norm"),
    ("model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"),
    ("model.layers.{}.post_mlp_layernorm", "blk.{}.post_ffw_norm"),
    ("model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    let rotary = config.rope.float("partial_rotary_factor")?.unwrap_or(0.5);
    keys.set_size("rope.dimension_count", (rotary * config.head_dim()? as f64) as usize);
    Ok(())
}
