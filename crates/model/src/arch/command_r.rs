//! `command-r`: both blocks read the same normed stream; layer norms without biases, scaled logits. `cohere2`: the same with
//! windows, and positions in the layers with windows alone.

use gguf::Gguf;

use super::{base, window};
use crate::{Activation, DecoderSpec, Mask, ModelError, Norm, QkNorm, Residual, Rope, RopeStyle, keys::Keys};

/// `cohere2`: every fourth layer sees the full context.
const FULL_EVERY: usize = 4;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut attention = base::attention(keys, gguf, RopeStyle::Norm)?;
    if gguf.tensor("blk.0.attn_q_norm.weight").is_some() {
        attention.qk_norm = QkNorm::PerHeadOwn;
    }
    let ffn = base::gated(keys, Activation::Silu)?;
    let mut spec = base::decoder(keys, gguf, Norm::Layer, (attention, ffn))?;
    spec.logit_scale = keys.require_positive("logit_scale")?;
    spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::Parallel);
    Ok(spec)
}

pub(super) fn spec2(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = spec(keys, gguf)?;
    let window = keys.require_size("attention.sliding_window", usize::MAX)?;
    let sliding = window::sliding_layers(keys, spec.layers.len(), FULL_EVERY)?;
    for (layer, slides) in spec.layers.iter_mut().zip(sliding) {
        if slides {
            layer.attention.mask = Mask::Sliding { window };
        } else {
            layer.attention.rope = Rope::none();
        }
    }
    Ok(spec)
}
