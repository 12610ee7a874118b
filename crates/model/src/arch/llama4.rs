//! `llama4` (text): experts in some layers, whose inputs are weighted; three layers with rotations that see a chunk to one
//! without that sees everything.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_size, experts},
    window,
};
use crate::{
    Activation, DecoderSpec, Ffn, Mask, ModelError, Moe, QkNorm, Rope, RopeStyle, Scoring, Shared, SharedWeight,
    Temperature, Weighted, keys::Keys,
};

/// What files without the keys mean.
const CHUNK: usize = 8_192;
const FULL_EVERY: usize = 4;
const TEMPERATURE_SCALE: f32 = 0.1;
/// The model with so many experts does not norm queries and keys.
const EXPERTS_WITHOUT_QK_NORM: usize = 128;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let size = expert_size(keys)?;
    let moe = Moe {
        scoring: Scoring::Sigmoid,
        normalize: false,
        weighted: Weighted::Input,
        shared: Some(Shared { size, weight: SharedWeight::One }),
        ..experts(keys, size)?
    };
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Norm, base::gated(keys, Activation::Silu)?)?;
    let moe_step = keys.require_size("interleave_moe_layer_step", base::MAX_SIZE)?;
    spec.layers.iter_mut().skip(moe_step - 1).step_by(moe_step).for_each(|layer| layer.ffn = Ffn::Moe(moe));
    if moe.num_experts != EXPERTS_WITHOUT_QK_NORM {
        spec.layers.iter_mut().for_each(|layer| layer.attention.qk_norm = QkNorm::UnitAfterRope);
    }
    // A window of 0 means that all layers see everything and rotate.
    if keys.uint("attention.sliding_window")? == Some(0) {
        return Ok(spec);
    }
    let chunk = window::window(keys)?.unwrap_or(CHUNK);
    let temperature = Temperature {
        scale: keys.positive("attention.temperature_scale")?.unwrap_or(TEMPERATURE_SCALE),
        floor: keys.size("attention.temperature_length", usize::MAX)?.unwrap_or(CHUNK),
        offset: 1,
    };
    let chunked = window::sliding_layers(keys, spec.layers.len(), FULL_EVERY)?;
    for (layer, chunked) in spec.layers.iter_mut().zip(chunked) {
        let attention = &mut layer.attention;
        if chunked {
            attention.mask = Mask::Chunked { chunk };
        } else {
            attention.rope = Rope::none();
            attention.qk_norm = QkNorm::None;
            attention.temperature = Some(temperature);
        }
    }
    Ok(spec)
}
