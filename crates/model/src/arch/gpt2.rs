//! `gpt2`, and `starcoder` with one key head: learned positions, layer norms, a feed-forward block without a gate; queries, keys and values in one tensor.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, Norm, Rope, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    attention.rope = Rope::none();
    let ffn = base::plain(keys, Activation::GeluTanh)?;
    let mut spec = base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))?;
    spec.learned_positions = Some(spec.context_length);
    Ok(spec)
}
