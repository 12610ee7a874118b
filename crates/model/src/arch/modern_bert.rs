//! `modern-bert`: an encoder with norms before the blocks, rotation and GEGLU; the first of every three layers sees all tokens,
//! the others half of a window on each side, rotated by a base of their own.

use gguf::Gguf;

use super::{base, window};
use crate::{Activation, DecoderSpec, Mask, ModelError, Norm, Residual, RopeStyle, keys::Keys};

/// The first of so many layers sees all tokens.
const FULL_EVERY: u64 = 3;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    let ffn = base::gated(keys, Activation::Gelu)?;
    let mut spec = base::decoder(keys, gguf, Norm::Layer, (attention, ffn))?;
    spec.embedding_norm = true;
    let slides = sliding_layers(keys, spec.layers.len())?;
    let (window, local_theta) = (window::window(keys)?, keys.positive("rope.freq_base_swa")?);
    for (layer, slides) in spec.layers.iter_mut().zip(slides) {
        let attention = &mut layer.attention;
        attention.mask = Mask::Bidirectional;
        if let Some(window) = window.filter(|_| slides) {
            attention.mask = Mask::Symmetric { reach: window / 2 };
            attention.rope.theta = local_theta.unwrap_or(attention.rope.theta);
        }
    }
    // The embeddings are normed already.
    if gguf.tensor("blk.0.attn_norm.weight").is_none() {
        spec.layers[0].residual = Residual::PreFfnNorm;
    }
    Ok(spec)
}

fn sliding_layers(keys: &Keys<'_>, num_layers: usize) -> Result<Vec<bool>, ModelError> {
    let suffix = "attention.sliding_window_pattern";
    if let Some(layers) = keys.flags(suffix, num_layers)? {
        return Ok(layers);
    }
    let every = keys.uint(suffix)?.unwrap_or(FULL_EVERY);
    Ok((0..num_layers as u64).map(|idx| every == 0 || idx % every != 0).collect())
}
