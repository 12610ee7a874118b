//! `gemma`: embeddings scaled by the root of their width, GELU.
//!
//! The files' norm weights already contain Gemma's `1 +`.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let ffn = base::gated(keys, Activation::GeluTanh)?;
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, ffn)?;
    spec.embedding_scale = (spec.hidden_size as f32).sqrt();
    Ok(spec)
}
