//! Seed-OSS: like Qwen 2, with another name for the norm before the feed-forward block.

use super::{
    Family,
    names::{DECODER, GATED, Table},
};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 524288, "head_dim": 128}"#,
    ..Family::new(&["SeedOssForCausalLM"], "seed_oss", &[DECODER, FFN_NORM, GATED])
}];

/// It stands behind attention, which gave it its name.
pub(super) const FFN_NORM: Table = &[("model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm")];
