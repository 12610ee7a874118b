//! gpt-oss: attention sinks, experts with biases, whose gates and ups alternate; their weights are MXFP4, or 16 bits with
//! inputs first.

use gguf::Value;

use super::{
    Family, Heads, Target,
    names::{DECODER, Table},
    seed_oss::FFN_NORM,
};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Part, Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[Family {
    defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 131072, "head_dim": 64, "sliding_window": 128}"#,
    keys,
    tensor,
    ..Family::new(&["GptOssForCausalLM"], "gpt-oss", &[DECODER, FFN_NORM, NAMES])
}];

const NAMES: Table = &[
    ("model.layers.{}.self_attn.sinks", "blk.{}.attn_sinks.weight"),
    ("model.layers.{}.mlp.router", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps"),
    ("model.layers.{}.mlp.experts.gate_up_proj_bias", "blk.{}.ffn_gate_up_exps_bias"),
    ("model.layers.{}.mlp.experts.down_proj", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.mlp.experts.down_proj_bias", "blk.{}.ffn_down_exps.bias"),
];

/// `general.file_type` of files whose experts are MXFP4.
const MOSTLY_MXFP4: u64 = 38;
/// That of files in 8 bits, which say so whatever their experts are.
const MOSTLY_Q8_0: u64 = 7;

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_size("attention.sliding_window", config.json.require_size("sliding_window")?);
    keys.set_size("expert_feed_forward_length", config.json.require_size("intermediate_size")?);
    let method = config.json.get("quantization_config").and_then(|q| q.get("quant_method")).and_then(|m| m.as_str());
    if method == Some("mxfp4") && keys.metadata.get("general.file_type") != Some(&Value::Uint(MOSTLY_Q8_0)) {
        keys.metadata.insert("general.file_type", Value::Uint(MOSTLY_MXFP4));
    }
    Ok(())
}

fn tensor(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    let names = [target.sibling("ffn_gate_exps"), target.sibling("ffn_up_exps")];
    match target.kind() {
        "ffn_gate_up_exps" => {
            let tensor = outputs_first(tensor)?;
            check_pairs(&tensor, tensor.shape[1])?;
            Ok(names.into_iter().enumerate().map(|(start, name)| every_other_row(name, &tensor, start)).collect())
        }
        "ffn_gate_up_exps_bias" => {
            let [gate, up] = names;
            Ok(vec![every_other_value(gate, &tensor, 0)?, every_other_value(up, &tensor, 1)?])
        }
        "ffn_down_exps" => {
            let tensor = outputs_first(tensor)?;
            let forced = tensor.rows.stored_as();
            Ok(vec![Recipe { forced, ..Recipe::rename(format!("{}.weight", target.base), tensor) }])
        }
        _ => Ok(vec![Recipe::rename(target.name(), tensor)]),
    }
}

fn outputs_first(tensor: Tensor) -> Result<Tensor, ConvertError> {
    if tensor.shape.len() != 3 {
        return Err(tensor.error(format!("has the shape {:?}; expected three dimensions", tensor.shape)));
    }
    if tensor.rows.stored_as().is_some() { Ok(tensor) } else { tensor.transposed() }
}

fn every_other_row(name: String, tensor: &Tensor, start: usize) -> Recipe {
    let mut shape = tensor.shape.clone();
    shape[1] /= 2;
    let num_rows = shape[0] * shape[1];
    let parts = vec![Part { tensor: tensor.clone(), num_rows, pick: Pick::Alternate(start) }];
    Recipe { forced: tensor.rows.stored_as(), ..Recipe::of_parts(format!("{name}.weight"), shape, parts) }
}

fn every_other_value(name: String, tensor: &Tensor, start: usize) -> Result<Recipe, ConvertError> {
    let &[num_experts, both] = tensor.shape.as_slice() else {
        return Err(tensor.error(format!("has the shape {:?}; expected two dimensions", tensor.shape)));
    };
    check_pairs(tensor, both)?;
    let values = tensor.values()?.chunks_exact(2).map(|pair| pair[start]).collect();
    let halved = Tensor::of_values(&tensor.name, vec![num_experts, both / 2], values);
    Ok(Recipe::rename(format!("{name}.bias"), halved))
}

fn check_pairs(tensor: &Tensor, both: usize) -> Result<(), ConvertError> {
    if both.is_multiple_of(2) {
        return Ok(());
    }
    Err(tensor.error(format!("of shape {:?} does not hold pairs of gates and ups", tensor.shape)))
}
