//! StarCoder2: layer norms with biases, an ungated feed-forward block.

use super::{
    Family,
    names::{DECODER, FFN_NORM, Table},
};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"norm_epsilon": 1e-5, "max_position_embeddings": 4096}"#,
    ..Family::new(&["Starcoder2ForCausalLM"], "starcoder2", &[DECODER, FFN_NORM, UNGATED])
}];

const UNGATED: Table =
    &[("model.layers.{}.mlp.c_fc", "blk.{}.ffn_up"), ("model.layers.{}.mlp.c_proj", "blk.{}.ffn_down")];
