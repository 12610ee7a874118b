//! `starcoder2`: layer norms, biases everywhere, a feed-forward block without a gate.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, Norm, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    let ffn = base::plain(keys, Activation::GeluTanh)?;
    base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))
}
