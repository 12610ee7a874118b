//! Which layers keep their keys and values in which pool of blocks.

use crate::{DecoderSpec, Mask};

/// The layers' pools: one for those that see all tokens, one for those with windows, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvLayers {
    /// Of each pool, how many tokens its layers see; `None` for all, which comes first. One or two.
    pub windows: Vec<Option<usize>>,
    /// The pool of each layer.
    pub pool_of_layer: Vec<usize>,
}

impl Mask {
    /// Tokens that are seen at most, the own one included; `None` for all.
    #[must_use]
    pub fn window(&self) -> Option<usize> {
        match *self {
            // An encoder's blocks serve one step, in which nothing can be given back.
            Self::Full | Self::Bidirectional | Self::Symmetric { .. } => None,
            Self::Sliding { window } => Some(window),
            Self::Chunked { chunk } => Some(chunk),
        }
    }
}

impl DecoderSpec {
    /// The pools of the layers. Layers with different windows share one, for the largest.
    #[must_use]
    pub fn kv_layers(&self) -> KvLayers {
        let windows = || self.layers.iter().map(|layer| layer.attention.mask.window());
        let full = windows().any(|window| window.is_none()).then_some(None);
        let sliding = windows().flatten().max().map(Some);
        let first_sliding = usize::from(full.is_some());
        let mut pool_of_layer: Vec<usize> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let own = if layer.attention.mask.window().is_some() { first_sliding } else { 0 };
            // Keys and values of another layer lie where that one has them.
            pool_of_layer.push(layer.attention.kv_source.map_or(own, |source| pool_of_layer[source]));
        }
        KvLayers { windows: full.into_iter().chain(sliding).collect(), pool_of_layer }
    }
}
