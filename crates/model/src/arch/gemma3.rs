//! `gemma3` (text): five sliding-window layers to one full layer, each kind with its own rotary base; normed heads;
//! norms after the blocks too; embeddings scaled by the root of their width.
//!
//! The files' norm weights already contain Gemma's `1 +`.

use gguf::Gguf;

use super::gemma;
use crate::{DecoderSpec, Mask, ModelError, QkNorm, Residual, RopeScaling, keys::Keys};

/// Every sixth layer sees the full context.
const FULL_EVERY: usize = 6;
/// Rotary base of the sliding-window layers.
const LOCAL_THETA: f32 = 10_000.0;
/// The 27B model is the one with 62 layers; it scales queries by the width per head instead of the head size.
const LAYERS_27B: usize = 62;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = gemma::spec(keys, gguf)?;
    spec.logit_softcap = keys.positive("final_logit_softcapping")?;
    let window = keys.require_size("attention.sliding_window", usize::MAX)?;
    let local_theta = keys.positive("rope.freq_base_swa")?.unwrap_or(LOCAL_THETA);
    let default_theta = keys.positive("rope.freq_base")?.is_none();
    let num_layers = spec.layers.len();
    for (i, layer) in spec.layers.iter_mut().enumerate() {
        let attention = &mut layer.attention;
        attention.qk_norm = QkNorm::PerHead;
        if num_layers == LAYERS_27B {
            attention.scale = 1.0 / ((spec.hidden_size / attention.num_heads) as f32).sqrt();
        }
        if default_theta {
            attention.rope.theta = 1e6;
        }
        if (i + 1) % FULL_EVERY != 0 {
            attention.mask = Mask::Sliding { window };
            attention.rope.theta = local_theta;
            attention.rope.scaling = RopeScaling::None;
        }
        layer.residual = Residual::SandwichNorm;
    }
    Ok(spec)
}
