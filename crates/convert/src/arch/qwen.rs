//! Qwen2, Qwen3 and their mixtures of experts.

use super::{
    Family, Heads, Target,
    names::{DECODER, FFN_NORM, GATED, Table},
};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Part, Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 32768}"#,
        ..Family::new(&["Qwen2ForCausalLM", "Qwen2Model"], "qwen2", &[DECODER, FFN_NORM, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "head_dim": 128}"#,
        ..Family::new(&["Qwen3ForCausalLM", "Qwen3Model"], "qwen3", &[DECODER, FFN_NORM, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 32768}"#,
        keys: expert_keys,
        tensor: expert_tensor,
        ..Family::new(&["Qwen2MoeForCausalLM"], "qwen2moe", &[DECODER, FFN_NORM, GATED, EXPERTS])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 32768}"#,
        keys: expert_keys,
        tensor: expert_tensor,
        ..Family::new(&["Qwen3MoeForCausalLM"], "qwen3moe", &[DECODER, FFN_NORM, GATED, EXPERTS])
    },
];

pub(super) const EXPERTS: Table = &[
    ("model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.mlp.experts.{}.gate_proj", "blk.{}.ffn_gate_exps"),
    ("model.layers.{}.mlp.experts.{}.up_proj", "blk.{}.ffn_up_exps"),
    ("model.layers.{}.mlp.experts.{}.down_proj", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps"),
    ("model.layers.{}.mlp.experts.down_proj", "blk.{}.ffn_down_exps.weight"),
    ("model.layers.{}.mlp.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp"),
    ("model.layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp"),
    ("model.layers.{}.mlp.shared_expert.down_proj", "blk.{}.ffn_down_shexp"),
    ("model.layers.{}.mlp.shared_expert_gate", "blk.{}.ffn_gate_inp_shexp"),
];

pub(super) fn expert_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.copy_size("expert_feed_forward_length", config, &["moe_intermediate_size"])?;
    keys.copy_size("expert_shared_feed_forward_length", config, &["shared_expert_intermediate_size"])
}

/// Newer checkpoints hold all experts' gates and ups in one tensor, `[experts, 2 * size, hidden]`.
pub(super) fn expert_tensor(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    if target.kind() != "ffn_gate_up_exps" {
        return Ok(vec![Recipe::rename(target.name(), tensor)]);
    }
    split_gate_up(target, tensor, ["ffn_gate_exps", "ffn_up_exps"])
}

/// Parts matrices, `[.., 2 * size, hidden]`, into their first and their second halves.
pub(super) fn split_gate_up(target: &Target, tensor: Tensor, kinds: [&str; 2]) -> Result<Vec<Recipe>, ConvertError> {
    let (&[.., both, hidden], false) = (tensor.shape.as_slice(), tensor.shape.len() > 3) else {
        return Err(tensor.error(format!("has the shape {:?}; expected two or three dimensions", tensor.shape)));
    };
    let (size, leading) = (both / 2, &tensor.shape[..tensor.shape.len() - 2]);
    let num_matrices = leading.iter().product();
    let half = |kind: &str, half: usize| {
        let part = |matrix| {
            let pick = Pick::From(matrix * 2 * size + half * size);
            Part { tensor: tensor.clone(), num_rows: size, pick }
        };
        let name = format!("{}.weight", target.sibling(kind).trim_end_matches(".weight"));
        let shape = [leading, &[size, hidden]].concat();
        Recipe::of_parts(name, shape, (0..num_matrices).map(part).collect())
    };
    Ok(vec![half(kinds[0], 0), half(kinds[1], 1)])
}
