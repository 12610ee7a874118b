//! `gemma`: embeddings scaled by the root of their width, GELU.
//!
//! The files' norm weights already contain Gemma's `1 +`.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, Ffn, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let size = keys.require_size("feed_forward_length", base::MAX_SIZE)?;
    let ffn = Ffn::Gated { size, activation: Activation::GeluTanh };
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, ffn)?;
    spec.embedding_scale = (spec.hidden_size as f32).sqrt();
    Ok(spec)
}
