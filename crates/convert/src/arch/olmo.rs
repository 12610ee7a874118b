//! OLMo 2: norms behind the blocks, and over all heads of queries and keys.

use super::{
    Family, VocabRules, common_keys,
    names::{DECODER, GATED, Table},
    nothing, rename,
};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["Olmo2ForCausalLM"],
    arch: "olmo2",
    tables: &[DECODER, GATED, NORMS],
    defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 2048}"#,
    keys: common_keys,
    tensor: rename,
    extra: nothing,
    vocab: VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] },
}];

const NORMS: Table = &[
    ("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"),
    ("model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"),
];
