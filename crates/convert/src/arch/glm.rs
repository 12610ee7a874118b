//! GLM-4: half of each head is rotated, gate and up in one matrix.

use super::{
    Family, VocabRules,
    names::{DECODER, Table},
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 131072}"#,
    keys,
    vocab: VocabRules {
        special_texts: &[
            ("eos", "<|endoftext|>"),
            ("eot", "<|user|>"),
            ("unk", "<|endoftext|>"),
            ("bos", "<|endoftext|>"),
        ],
        ..VocabRules::NONE
    },
    ..Family::new(&["Glm4ForCausalLM"], "glm4", &[DECODER, NAMES])
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
    keys.set_rotated_part(config, 0.5)?;
    Ok(())
}
