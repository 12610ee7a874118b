//! `gpt-oss`: experts with biases and a clamped gate, attention sinks, a window in every other layer.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_size, experts},
    window,
};
use crate::{Activation, DecoderSpec, Ffn, Mask, ModelError, Moe, Names, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    // The softmax is over the chosen experts, which is one over all of them divided by the sum of the chosen.
    let moe = Moe { activation: Activation::ClampedSwiglu, ..experts(keys, expert_size(keys)?)? };
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, Ffn::Moe(moe))?;
    spec.names = Names { ffn_norm: "post_attention_norm", ..Names::default() };
    spec.layers.iter_mut().for_each(|layer| layer.attention.sinks = true);
    let sliding = window::sliding_layers(keys, spec.layers.len(), 2)?;
    let window = keys.require_size("attention.sliding_window", usize::MAX)?;
    window::slide(&mut spec, &sliding, Mask::Sliding { window }).for_each(drop);
    Ok(spec)
}
