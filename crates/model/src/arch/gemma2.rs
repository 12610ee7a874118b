//! `gemma2`: Gemma with softcaps, norms after the blocks too, and a window in every other layer.

use gguf::Gguf;

use super::{gemma, window};
use crate::{DecoderSpec, Mask, ModelError, Residual, keys::Keys};

/// What files without the key mean.
const WINDOW: usize = 4_096;
/// The 27B model is the one with 46 layers; it scales queries by the width per head instead of the head size.
const LAYERS_27B: usize = 46;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = gemma::spec(keys, gguf)?;
    spec.logit_softcap = keys.positive("final_logit_softcapping")?;
    let softcap = keys.positive("attn_logit_softcapping")?;
    let (num_layers, hidden_size) = (spec.layers.len(), spec.hidden_size);
    for layer in &mut spec.layers {
        layer.residual = Residual::SandwichNorm;
        layer.attention.softcap = softcap;
        if num_layers == LAYERS_27B {
            layer.attention.scale = 1.0 / ((hidden_size / layer.attention.num_heads) as f32).sqrt();
        }
    }
    let sliding = window::sliding_layers(keys, num_layers, 2)?;
    let mask = Mask::Sliding { window: window::window(keys)?.unwrap_or(WINDOW) };
    window::slide(&mut spec, &sliding, mask).for_each(drop);
    Ok(spec)
}
