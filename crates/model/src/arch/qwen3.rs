//! `qwen3`: like Qwen 2 without biases, with normed query and key heads.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, QkNorm, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = base::spec(keys, gguf, RopeStyle::Neox)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = QkNorm::PerHead;
    }
    Ok(spec)
}
