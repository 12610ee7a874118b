//! Gemma, Gemma 2, Gemma 3 and the last one's encoder: norms are stored less one.

use super::{
    Family, Heads, Target, VocabRules,
    names::{DECODER, FFN_NORM, GATED, POST_NORMS},
};
use crate::{ConvertError, config::Config, keys::Keys, recipe::Recipe, tensor::Tensor};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 8192, "head_dim": 256}"#,
        keys: gemma_keys,
        tensor,
        vocab: VocabRules { special: END_OF_TURN, ..VOCAB },
        ..Family::new(&["GemmaForCausalLM"], "gemma", &[DECODER, FFN_NORM, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 8192, "head_dim": 256, "sliding_window": 4096,
            "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}"#,
        keys: gemma2_keys,
        tensor,
        vocab: VOCAB,
        ..Family::new(&["Gemma2ForCausalLM"], "gemma2", &[DECODER, POST_NORMS, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 131072, "head_dim": 256,
            "num_attention_heads": 8, "num_key_value_heads": 4, "sliding_window": 4096, "vocab_size": 262208,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}"#,
        keys: gemma3_keys,
        tensor,
        vocab: VOCAB,
        ..Family::new(&["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"], "gemma3", &[DECODER, POST_NORMS, GATED])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-6, "max_position_embeddings": 131072, "head_dim": 256,
            "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262208,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}"#,
        keys: gemma3_keys,
        tensor,
        vocab: VOCAB,
        ..Family::new(&["Gemma3TextModel"], "gemma-embedding", &[DECODER, POST_NORMS, GATED])
    },
];

const VOCAB: VocabRules = VocabRules { add_space_prefix: Some(false), ..VocabRules::NONE };

/// The end of a turn.
const END_OF_TURN: &[(&str, u64)] = &[("eot", 107)];

fn gemma_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_size("attention.head_count_kv", config.num_kv_heads()?);
    keys.remove("rope.freq_base");
    Ok(())
}

fn gemma2_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    gemma_keys(keys, config)?;
    keys.copy_float("attn_logit_softcapping", config, &["attn_logit_softcapping"])?;
    keys.copy_float("final_logit_softcapping", config, &["final_logit_softcapping"])?;
    keys.copy_size("attention.sliding_window", config, &["sliding_window"])
}

fn gemma3_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    if config.json.get("attn_logit_softcapping").is_some() {
        return Err(config.json.wrong("attn_logit_softcapping", "nothing: Gemma 3 has none"));
    }
    keys.copy_float("final_logit_softcapping", config, &["final_logit_softcapping"])?;
    if config.json.size("sliding_window_pattern")? != Some(1) {
        keys.copy_size("attention.sliding_window", config, &["sliding_window"])?;
    }
    Ok(())
}

fn tensor(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    // The output is tied to the embedding; some checkpoints repeat it.
    if target.base == "output" {
        return Ok(Vec::new());
    }
    let add = if target.base.ends_with("norm") { 1.0 } else { 0.0 };
    Ok(vec![Recipe { add, ..Recipe::rename(target.name(), tensor) }])
}
