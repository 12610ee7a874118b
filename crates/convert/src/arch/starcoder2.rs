//! StarCoder2: layer norms with biases, an ungated feed-forward block.

use super::{
    Family, VocabRules, common_keys,
    names::{DECODER, FFN_NORM, Table},
    nothing, rename,
};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["Starcoder2ForCausalLM"],
    arch: "starcoder2",
    tables: &[DECODER, FFN_NORM, UNGATED],
    defaults: r#"{"norm_epsilon": 1e-5, "max_position_embeddings": 4096}"#,
    keys: common_keys,
    tensor: rename,
    extra: nothing,
    vocab: VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] },
}];

const UNGATED: Table =
    &[("model.layers.{}.mlp.c_fc", "blk.{}.ffn_up"), ("model.layers.{}.mlp.c_proj", "blk.{}.ffn_down")];
