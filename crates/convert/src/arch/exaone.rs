//! EXAONE 3: Llama under names of its own. EXAONE 4: norms behind the blocks, windows in some layers.

use gguf::{Array, Value};

use super::{
    Family,
    llama::rope_freqs,
    names::{DECODER, GATED, Table},
    olmo,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[
    Family {
        defaults: r#"{"layer_norm_epsilon": 1e-5, "activation_function": "silu"}"#,
        keys,
        extra: rope_freqs,
        ..Family::new(&["ExaoneForCausalLM"], "exaone", &[NAMES])
    },
    Family {
        defaults: r#"{"rms_norm_eps": 1e-5, "max_position_embeddings": 2048}"#,
        keys: exaone4_keys,
        extra: rope_freqs,
        ..Family::new(&["Exaone4ForCausalLM"], "exaone4", &[DECODER, GATED, olmo::NORMS])
    },
];

const NAMES: Table = &[
    ("transformer.wte", "token_embd"),
    ("transformer.ln_f", "output_norm"),
    ("lm_head", "output"),
    ("transformer.h.{}.ln_1", "blk.{}.attn_norm"),
    ("transformer.h.{}.attn.attention.q_proj", "blk.{}.attn_q"),
    ("transformer.h.{}.attn.attention.k_proj", "blk.{}.attn_k"),
    ("transformer.h.{}.attn.attention.v_proj", "blk.{}.attn_v"),
    ("transformer.h.{}.attn.attention.out_proj", "blk.{}.attn_output"),
    ("transformer.h.{}.ln_2", "blk.{}.ffn_norm"),
    ("transformer.h.{}.mlp.c_fc_0", "blk.{}.ffn_gate"),
    ("transformer.h.{}.mlp.c_fc_1", "blk.{}.ffn_up"),
    ("transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down"),
];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    if config.json.str("activation_function")? != Some("silu") {
        return Err(config.json.wrong("activation_function", "`silu`"));
    }
    // The format's readers know this architecture's epsilon under the name of the RMS norm that it is.
    keys.copy_float("attention.layer_norm_rms_epsilon", config, &["layer_norm_epsilon"])?;
    keys.set_rotated_part(config, 1.0)?;
    Ok(())
}

fn exaone4_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    keys.set_size("vocab_size", config.json.require_size("vocab_size")?);
    let Some(window) = config.json.size("sliding_window")? else { return Ok(()) };
    keys.set_size("attention.sliding_window", window);
    if let Some(sliding) = config.sliding_layers()? {
        keys.set("attention.sliding_window_pattern", Value::Array(Array::Bool(sliding)));
    }
    Ok(())
}
