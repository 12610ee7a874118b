//! `llama`: Llama 1-3, Mistral and the many fine-tunes that share their shape.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    if let Some(experts) = keys.size("expert_count", usize::MAX)? {
        return Err(ModelError::Unsupported {
            key: keys.key("expert_count"),
            found: experts.to_string(),
            supported: "dense models".to_owned(),
        });
    }
    base::spec(keys, gguf, RopeStyle::Norm)
}
