//! Seed-OSS: like Qwen 2, with another name for the norm before the feed-forward block.

use super::{
    Family, VocabRules, common_keys,
    names::{DECODER, GATED, Table},
    nothing, rename,
};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["SeedOssForCausalLM"],
    arch: "seed_oss",
    tables: &[DECODER, FFN_NORM, GATED],
    defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 524288, "head_dim": 128}"#,
    keys: common_keys,
    tensor: rename,
    extra: nothing,
    vocab: VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] },
}];

/// It stands behind attention, which gave it its name.
pub(super) const FFN_NORM: Table = &[("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm")];
