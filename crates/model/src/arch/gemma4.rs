//! `gemma4` (text): layers of two kinds, with a window and small heads or with the full context and large
//! heads; normed values; the last layers read keys and values of earlier ones; each layer gets a vector of its own of each
//! token. With experts, each layer has them beside its gated block.

use gguf::{Gguf, GgufError};

use super::{base, experts::experts, window};
use crate::{
    Activation, Attention, DecoderSpec, Ffn, LayerSpec, Mask, ModelError, Moe, Norm, QkNorm, Residual, Rope, RopeStyle,
    Values, keys::Keys, rope,
};

/// Rotary base of the layers with a window.
const LOCAL_THETA: f32 = 10_000.0;
/// Every sixth layer sees the full context.
const FULL_EVERY: usize = 6;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let num_layers = keys.require_size("block_count", base::MAX_LAYERS)?;
    let kinds = Kinds::read(keys, gguf, num_layers)?;
    let layers = (0..num_layers).map(|idx| kinds.layer(idx)).collect();
    let (attention, ffn) =
        (Attention::plain(1, 1, 2, Rope::none()), Ffn::Gated { size: 1, activation: Activation::Silu });
    let spec = base::decoder(keys, gguf, Norm::Rms, (attention, ffn))?;
    Ok(DecoderSpec {
        embedding_scale: (spec.hidden_size as f32).sqrt(),
        logit_softcap: keys.positive("final_logit_softcapping")?,
        per_layer_inputs: match keys.uint("embedding_length_per_layer_input")? {
            None | Some(0) => None,
            Some(_) => keys.size("embedding_length_per_layer_input", base::MAX_SIZE)?,
        },
        layers,
        ..spec
    })
}

/// What differs from layer to layer.
struct Kinds {
    num_heads: usize,
    kv_heads: Vec<usize>,
    ffn_sizes: Vec<usize>,
    moe: Option<Moe>,
    sliding: Vec<bool>,
    window: usize,
    /// Head sizes and rotations of layers with the full context and with a window.
    heads: [(usize, Rope); 2],
    /// Layers that make keys and values.
    num_own: usize,
}

impl Kinds {
    fn read(keys: &Keys<'_>, gguf: &Gguf, num_layers: usize) -> Result<Self, ModelError> {
        let size = |key| keys.require_size(key, base::MAX_SIZE);
        let layer_sizes = |key| keys.layer_sizes(key, base::MAX_SIZE, num_layers);
        let (full_dim, local_dim) = (size("attention.key_length")?, size("attention.key_length_swa")?);
        let mut full = Rope::new(RopeStyle::Neox, full_dim, keys.positive("rope.freq_base")?.unwrap_or(1e6));
        rope::read_scaling(keys, gguf, &mut full)?;
        let local_theta = keys.positive("rope.freq_base_swa")?.unwrap_or(LOCAL_THETA);
        let local = Rope { has_factors: false, ..Rope::new(RopeStyle::Neox, local_dim, local_theta) };
        let num_heads = size("attention.head_count")?;
        let kv_heads = layer_sizes("attention.head_count_kv")?;
        if let Some(count) = kv_heads.iter().find(|&count| num_heads % count != 0) {
            let expected = format!("a divisor of the {num_heads} query heads");
            return Err(GgufError::invalid(keys.key("attention.head_count_kv"), count, expected).into());
        }
        for (key, dim) in [("attention.key_length", full_dim), ("attention.key_length_swa", local_dim)] {
            if dim % 2 != 0 {
                return Err(GgufError::invalid(keys.key(key), dim, "an even number").into());
            }
        }
        let kinds = Self {
            num_heads,
            kv_heads,
            ffn_sizes: layer_sizes("feed_forward_length")?,
            moe: match keys.uint("expert_count")? {
                None | Some(0) => None,
                Some(_) => {
                    let moe = experts(keys, size("expert_feed_forward_length")?)?;
                    Some(Moe { activation: Activation::GeluTanh, ..moe })
                }
            },
            sliding: window::sliding_layers(keys, num_layers, FULL_EVERY)?,
            window: keys.require_size("attention.sliding_window", usize::MAX)?,
            heads: [(full_dim, full), (local_dim, local)],
            num_own: num_layers.saturating_sub(keys.uint("attention.shared_kv_layers")?.unwrap_or(0) as usize),
        };
        // Both kinds of layers must have one to read from.
        match (0..num_layers).find(|&idx| idx >= kinds.num_own && kinds.source(idx).is_none()) {
            None => Ok(kinds),
            Some(idx) => {
                let expected = format!("fewer: layer {idx} has no earlier layer of its kind to read from");
                Err(GgufError::invalid(keys.key("attention.shared_kv_layers"), num_layers - kinds.num_own, expected)
                    .into())
            }
        }
    }

    /// The last layer of the same kind that makes keys and values.
    fn source(&self, idx: usize) -> Option<usize> {
        (0..self.num_own)
            .rfind(|&own| self.sliding[own] == self.sliding[idx] && self.kv_heads[own] == self.kv_heads[idx])
    }

    fn layer(&self, idx: usize) -> LayerSpec {
        let slides = self.sliding[idx];
        let (head_dim, rope) = &self.heads[usize::from(slides)];
        let attention = Attention {
            mask: if slides { Mask::Sliding { window: self.window } } else { Mask::Full },
            scale: 1.0,
            qk_norm: QkNorm::PerHead,
            values: Values::UnitNorm,
            kv_source: if idx < self.num_own { None } else { self.source(idx) },
            ..Attention::plain(self.num_heads, self.kv_heads[idx], *head_dim, rope.clone())
        };
        let size = self.ffn_sizes[idx];
        let ffn = match self.moe {
            None => Ffn::Gated { size, activation: Activation::GeluTanh },
            Some(moe) => Ffn::GatedAndMoe { size, moe },
        };
        LayerSpec { attention, ffn, residual: Residual::SandwichNorm }
    }
}
