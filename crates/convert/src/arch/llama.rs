//! Llama and what is built like it: Mistral, Ministral 3, Mixtral, Granite with and without experts, SmolLM3.

use super::{
    Family, Heads, Target, VocabRules,
    names::{DECODER, FFN_NORM, GATED, Table},
    qwen::split_gate_up,
};
use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Pick, Recipe},
    tensor::Tensor,
};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "vocab_size": 32000}"#,
        keys,
        tensor,
        extra: rope_freqs,
        vocab: VOCAB,
        ..Family::new(
            &[
                "LlamaForCausalLM",
                "LLaMAForCausalLM",
                "LlamaModel",
                "MistralForCausalLM",
                "MistralModel",
                "MixtralForCausalLM",
            ],
            "llama",
            &[DECODER, FFN_NORM, GATED, EXPERTS],
        )
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "vocab_size": 32000}"#,
        keys: granite_keys,
        tensor,
        extra: rope_freqs,
        vocab: VOCAB,
        ..Family::new(&["GraniteForCausalLM"], "granite", &[DECODER, FFN_NORM, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "vocab_size": 32000}"#,
        keys: granitemoe_keys,
        tensor: granitemoe_tensor,
        extra: rope_freqs,
        vocab: VOCAB,
        ..Family::new(
            &["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
            "granitemoe",
            &[DECODER, FFN_NORM, GRANITE_EXPERTS],
        )
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "vocab_size": 128256}"#,
        keys,
        tensor,
        extra: rope_freqs,
        vocab: VOCAB,
        ..Family::new(&["SmolLM3ForCausalLM"], "smollm3", &[DECODER, FFN_NORM, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 131072}"#,
        keys: mistral3_keys,
        tensor,
        extra: rope_freqs,
        vocab: VOCAB,
        ..Family::new(
            &["Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"],
            "mistral3",
            &[DECODER, FFN_NORM, GATED],
        )
    },
];

const VOCAB: VocabRules = VocabRules { copies_space_prefix: true, ..VocabRules::NONE };

const EXPERTS: Table = &[
    ("model.layers.{}.block_sparse_moe.gate", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.block_sparse_moe.experts.{}.w1", "blk.{}.ffn_gate_exps"),
    ("model.layers.{}.block_sparse_moe.experts.{}.w2", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.block_sparse_moe.experts.{}.w3", "blk.{}.ffn_up_exps"),
];

const GRANITE_EXPERTS: Table = &[
    ("model.layers.{}.block_sparse_moe.router.layer", "blk.{}.ffn_gate_inp"),
    ("model.layers.{}.block_sparse_moe.input_linear", "blk.{}.ffn_gate_up_exps"),
    ("model.layers.{}.block_sparse_moe.output_linear", "blk.{}.ffn_down_exps"),
    ("model.layers.{}.shared_mlp.input_linear", "blk.{}.ffn_gate_up_shexp"),
    ("model.layers.{}.shared_mlp.output_linear", "blk.{}.ffn_down_shexp"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_size("vocab_size", config.json.require_size("vocab_size")?);
    let class = Config::architecture(&config.json)?;
    if class.starts_with("Llama") || matches!(class, "MistralForCausalLM" | "MistralModel" | "GraniteForCausalLM") {
        set_head_dim(keys, config)?;
    }
    keys.set_size("rope.dimension_count", config.head_dim()?);
    Ok(())
}

/// Their configurations know the head size even where the file leaves it out.
fn set_head_dim(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_size("attention.key_length", config.head_dim()?);
    keys.set_size("attention.value_length", config.head_dim()?);
    Ok(())
}

/// Ministral 3's queries grow with the logarithm of their positions; Mistral Small 3.1 is of this class, too.
fn mistral3_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    self::keys(keys, config)?;
    if config.json.str("model_type")? != Some("ministral3") {
        return Ok(());
    }
    if config.rope.str("rope_type")? != Some("yarn") {
        return Err(config.rope.wrong("rope_type", "`yarn`"));
    }
    let number = |key: &str| config.rope.require(key, config.rope.float(key));
    keys.set_float("rope.scaling.yarn_log_multiplier", number("mscale_all_dim")?);
    keys.set_float("attention.temperature_scale", number("llama_4_scaling_beta")?);
    Ok(())
}

fn granite_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    self::keys(keys, config)?;
    keys.remove("attention.key_length");
    keys.remove("attention.value_length");
    let scales = [
        ("attention.scale", "attention_multiplier"),
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("logit_scale", "logits_scaling"),
    ];
    scales.iter().try_for_each(|(key, from)| keys.copy_float(key, config, &[from]))
}

fn granitemoe_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    granite_keys(keys, config)?;
    let size = config.json.size("shared_intermediate_size")?.filter(|&size| size > 0);
    size.into_iter().for_each(|size| keys.set_size("expert_shared_feed_forward_length", size));
    Ok(())
}

fn granitemoe_tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    match target.kind() {
        "ffn_gate_up_exps" => split_gate_up(target, tensor, ["ffn_gate_exps", "ffn_up_exps"]),
        "ffn_gate_up_shexp" => split_gate_up(target, tensor, ["ffn_gate_shexp", "ffn_up_shexp"]),
        _ => self::tensor(heads, target, tensor),
    }
}

/// Rotary pairs become neighbours in queries and keys.
pub(super) fn tensor(heads: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    let num_heads = match target.kind() {
        "attn_q" => heads.num_heads,
        "attn_k" => heads.num_kv_heads,
        _ => return Ok(vec![Recipe::rename(target.name(), tensor)]),
    };
    Ok(vec![Recipe::reordered(target.name(), tensor, Pick::Heads(num_heads))?])
}

/// The factors of `"rope_type": "llama3"`: low frequencies are stretched, high ones kept, those between blended.
/// Computed in single precision, as the checkpoints' own code does.
pub(super) fn rope_freqs(config: &Config) -> Result<Vec<Recipe>, ConvertError> {
    let rope = &config.rope;
    if !rope.str("rope_type")?.is_some_and(|t| t.eq_ignore_ascii_case("llama3")) {
        return Ok(Vec::new());
    }
    let number = |key: &str, default: f64| Ok::<_, ConvertError>(rope.float(key)?.unwrap_or(default) as f32);
    let (theta, factor) = (number("rope_theta", 10_000.0)?, number("factor", 8.0)?);
    let (low, high) = (number("low_freq_factor", 1.0)?, number("high_freq_factor", 4.0)?);
    let context = number("original_max_position_embeddings", 8192.0)?;
    let dim = config.head_dim()?;
    let factors: Vec<f32> = (0..dim / 2)
        .map(|i| {
            let wavelength = std::f32::consts::TAU * theta.powf((2 * i) as f32 / dim as f32);
            if wavelength < context / high {
                1.0
            } else if wavelength > context / low {
                factor
            } else {
                let smooth = (context / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        })
        .collect();
    let tensor = Tensor::of_values("rope_freqs.weight", vec![factors.len()], factors);
    Ok(vec![Recipe::rename("rope_freqs.weight".to_owned(), tensor)])
}
