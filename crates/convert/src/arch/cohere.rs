//! Command R: attention and feed-forward in parallel, scaled logits.

use gguf::Value;

use super::{
    Family, VocabRules,
    names::{DECODER, GATED},
    nothing, rename,
};
use crate::{ConvertError, config::Config, keys::Keys};

pub(super) const FAMILY: &[Family] = &[Family {
    classes: &["CohereForCausalLM"],
    arch: "command-r",
    tables: &[DECODER, GATED],
    defaults: r#"{"layer_norm_eps": 1e-5, "max_position_embeddings": 8192, "logit_scale": 0.0625}"#,
    keys,
    tensor: rename,
    extra: nothing,
    vocab: VocabRules { add_space_prefix: None, copies_space_prefix: false, special: &[], special_texts: &[] },
}];

fn keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)?;
    // The first models were trained on a longer context than `max_position_embeddings` says.
    keys.copy_size("context_length", config, &["model_max_length", "max_position_embeddings"])?;
    keys.copy_float("logit_scale", config, &["logit_scale"])?;
    keys.set("rope.scaling.type", Value::String("none".to_owned()));
    Ok(())
}
