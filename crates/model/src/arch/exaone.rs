//! `exaone`: Llama with rotation by halves. `exaone4`: the blocks' outputs are normed, not their inputs, and query and key
//! heads too; where it has windows, positions are in the layers with windows alone.

use gguf::Gguf;

use super::{base, window};
use crate::{DecoderSpec, Mask, ModelError, QkNorm, Residual, Rope, RopeStyle, keys::Keys};

/// `exaone4`: every fourth layer sees the full context.
const FULL_EVERY: usize = 4;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    base::spec(keys, gguf, RopeStyle::Neox)
}

pub(super) fn spec4(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = spec(keys, gguf)?;
    for layer in &mut spec.layers {
        layer.residual = Residual::PostNorm;
        layer.attention.qk_norm = QkNorm::PerHead;
    }
    if let Some(window) = window::window(keys)? {
        let sliding = window::sliding_layers(keys, spec.layers.len(), FULL_EVERY)?;
        for (layer, slides) in spec.layers.iter_mut().zip(sliding) {
            if slides {
                layer.attention.mask = Mask::Sliding { window };
            } else {
                layer.attention.rope = Rope::none();
            }
        }
    }
    Ok(spec)
}
