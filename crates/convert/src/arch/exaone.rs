//! EXAONE 3: Llama under names of its own.

use super::{Family, VocabRules, llama::rope_freqs, names::Table, rename};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["ExaoneForCausalLM"],
    arch: "exaone",
    tables: &[NAMES],
    defaults: r#"{"layer_norm_epsilon": 1e-5, "activation_function": "silu"}"#,
    keys,
    tensor: rename,
    extra: rope_freqs,
    vocab: VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] },
}];

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
    let rotary = config.rope.float("partial_rotary_factor")?.unwrap_or(1.0);
    keys.set_size("rope.dimension_count", (rotary * config.head_dim()? as f64) as usize);
    Ok(())
}
