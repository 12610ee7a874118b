//! `olmo2`: the blocks' outputs are normed, not their inputs; all query heads are normed as one, and all key heads. OLMo 3 has
//! windows, and scales the rotation of the layers with the full context alone.

use gguf::Gguf;

use super::{base, window};
use crate::{DecoderSpec, Mask, ModelError, QkNorm, Residual, RopeScaling, RopeStyle, keys::Keys};

/// OLMo 3: every fourth layer sees the full context.
const FULL_EVERY: usize = 4;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = base::spec(keys, gguf, RopeStyle::Neox)?;
    for layer in &mut spec.layers {
        layer.residual = Residual::PostNorm;
        layer.attention.qk_norm = QkNorm::AllHeads;
    }
    if let Some(window) = window::window(keys)? {
        let sliding = window::sliding_layers(keys, spec.layers.len(), FULL_EVERY)?;
        for layer in window::slide(&mut spec, &sliding, Mask::Sliding { window }) {
            layer.attention.rope.scaling = RopeScaling::None;
            layer.attention.rope.magnitude = 1.0;
        }
    }
    Ok(spec)
}
