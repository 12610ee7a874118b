//! DeepSeek 2 and 3: keys and values are made of a latent, experts follow leading layers without them.

use gguf::Value;

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
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "kv_lora_rank": 512}"#,
        keys,
        tensor,
        ..Family::new(&["DeepseekV2ForCausalLM"], "deepseek2", TABLES)
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "kv_lora_rank": 512,
            "scoring_func": "sigmoid"}"#,
        keys,
        tensor,
        ..Family::new(&["DeepseekV3ForCausalLM"], "deepseek2", TABLES)
    },
];

const TABLES: &[Table] = &[DECODER, FFN_NORM, GATED, LATENT, EXPERTS];

const LATENT: Table = &[
    ("model.layers.{}.self_attn.q_a_proj", "blk.{}.attn_q_a"),
    ("model.layers.{}.self_attn.q_a_layernorm", "blk.{}.attn_q_a_norm"),
    ("model.layers.{}.self_attn.q_b_proj", "blk.{}.attn_q_b"),
    ("model.layers.{}.self_attn.kv_a_proj_with_mqa", "blk.{}.attn_kv_a_mqa"),
    ("model.layers.{}.self_attn.kv_a_layernorm", "blk.{}.attn_kv_a_norm"),
    ("model.layers.{}.self_attn.kv_b_proj", "blk.{}.attn_kv_b"),
];

const EXPERTS: Table = &[
    ("model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.mlp.gate.e_score_correction_bias", "blk.{}.exp_probs_b.bias"),
    ("model.layers.{}.mlp.experts.{}.gate_proj", "blk.{}.ffn_gate_exps"),
    ("model.layers.{}.mlp.experts.{}.up_proj", "blk.{}.ffn_up_exps"),
    ("model.layers.{}.mlp.experts.{}.down_proj", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.mlp.shared_experts.gate_proj", "blk.{}.ffn_gate_shexp"),
    ("model.layers.{}.mlp.shared_experts.up_proj", "blk.{}.ffn_up_shexp"),
    ("model.layers.{}.mlp.shared_experts.down_proj", "blk.{}.ffn_down_shexp"),
];

/// Attention is described as it runs on latents: one head of keys and values for all queries.
fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    let size = |key| config.json.require_size(key);
    let (rank, rope_dim) = (size("kv_lora_rank")?, size("qk_rope_head_dim")?);
    let num_experts = config.json.size("n_routed_experts")?;
    let num_dense = match (config.json.size("first_k_dense_replace")?, num_experts) {
        (Some(num_dense), _) => num_dense,
        (None, Some(_)) => 0,
        (None, None) => config.num_layers()?,
    };
    keys.set_size("leading_dense_block_count", num_dense);
    keys.set_size("vocab_size", size("vocab_size")?);
    keys.copy_size("attention.q_lora_rank", config, &["q_lora_rank"])?;
    keys.set_size("attention.kv_lora_rank", rank);
    keys.set_size("attention.head_count_kv", 1);
    keys.set_size("attention.key_length", rank + rope_dim);
    keys.set_size("attention.value_length", rank);
    keys.set_size("attention.key_length_mla", size("qk_nope_head_dim")? + rope_dim);
    keys.set_size("attention.value_length_mla", size("v_head_dim")?);
    keys.set_size("rope.dimension_count", rope_dim);
    keys.copy_size("expert_feed_forward_length", config, &["moe_intermediate_size", "intermediate_size"])?;
    keys.set_size("expert_shared_count", config.json.size("n_shared_experts")?.unwrap_or(0));
    keys.copy_float("expert_weights_scale", config, &["routed_scaling_factor"])?;
    if config.json.bool("norm_topk_prob")? == Some(true) {
        keys.set("expert_weights_norm", Value::Bool(true));
    }
    if let Some(scale) = config.rope.float("mscale_all_dim")? {
        keys.set_float("rope.scaling.yarn_log_multiplier", 0.1 * scale);
    }
    Ok(())
}

/// What makes keys and values of a latent is parted: keys' matrices are transposed, to be applied to queries.
fn tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    if target.kind() != "attn_kv_b" {
        return Ok(vec![Recipe::rename(target.name(), tensor)]);
    }
    let &Heads { num_heads, nope_dim, .. } = heads;
    let head_dim = tensor.num_rows().checked_div(num_heads).unwrap_or(0);
    if tensor.num_rows() != num_heads * head_dim || head_dim <= nope_dim || nope_dim == 0 {
        let what = format!("of shape {:?} is not made of {num_heads} heads of more than {nope_dim}", tensor.shape);
        return Err(tensor.error(what));
    }
    let part_of_heads = |name: String, first: usize, num_rows: usize| {
        let part = |head| Part { tensor: tensor.clone(), num_rows, pick: Pick::From(head * head_dim + first) };
        let shape = vec![num_heads, num_rows, tensor.num_cols()];
        Recipe::of_parts(name, shape, (0..num_heads).map(part).collect())
    };
    let keys = part_of_heads(tensor.name.clone(), 0, nope_dim);
    let keys = Tensor::new(&tensor.name, keys.shape.clone(), keys).transposed()?;
    let values = part_of_heads(target.sibling("attn_v_b"), nope_dim, head_dim - nope_dim);
    Ok(vec![Recipe::rename(target.sibling("attn_k_b"), keys), values])
}

#[cfg(test)]
mod tests {
    use super::{FAMILY, Heads};
    use crate::tensor::Tensor;

    #[test]
    fn what_makes_keys_and_values_is_parted() {
        // Two heads, each of two rows for keys and one for values, of a latent of two.
        let heads = Heads { num_heads: 2, num_kv_heads: 2, nope_dim: 2, first_position: 0 };
        let name = "model.layers.0.self_attn.kv_b_proj.weight";
        let tensor = |rows: usize| Tensor::of_values(name, vec![rows, 2], (0..2 * rows).map(|i| i as f32).collect());
        let recipes = FAMILY[0].recipes(&heads, [tensor(6)].into_iter()).expect("two parts");
        let [keys, values] = recipes.as_slice() else { panic!("{} tensors", recipes.len()) };
        let read = |recipe: &super::Recipe| {
            let mut out = vec![0.0; recipe.shape.iter().product()];
            recipe.read(0, &mut out).expect("rows");
            (recipe.name.clone(), recipe.shape.clone(), out)
        };
        let expected = vec![0., 2., 1., 3., 6., 8., 7., 9.];
        assert_eq!(read(keys), ("blk.0.attn_k_b.weight".to_owned(), vec![2, 2, 2], expected));
        assert_eq!(read(values), ("blk.0.attn_v_b.weight".to_owned(), vec![2, 1, 2], vec![4., 5., 10., 11.]));
        assert!(FAMILY[0].recipes(&heads, [tensor(4)].into_iter()).is_err(), "nothing is left for values");
    }
}
