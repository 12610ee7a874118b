//! The decoder as data. Closed enums: an executor's `match` fails to compile when a kind is added.

use crate::{Attention, Ffn};

/// A decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSpec {
    /// `general.architecture`.
    pub arch: &'static str,
    /// `general.name`, empty when absent.
    pub name: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// The longest sequence the model was trained for, in tokens.
    pub context_length: usize,
    /// Rows of a table of learned vectors, one a position, that are added to the token embeddings (GPT-2). No sequence
    /// can be longer.
    pub learned_positions: Option<usize>,
    /// Token embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Width of what each layer gets of each token beside the residual stream (Gemma 4), see
    /// [`crate::PerLayerInputs`].
    pub per_layer_inputs: Option<usize>,
    /// The kind of every norm of the residual stream.
    pub norm: Norm,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// The blocks' outputs are multiplied by this before they are added to the residual stream (Granite).
    pub residual_scale: f32,
    /// Logits are multiplied by this, before the softcap.
    pub logit_scale: f32,
    /// Logits become `cap * tanh(logits / cap)`.
    pub logit_softcap: Option<f32>,
    /// What the file calls some tensors.
    pub names: Names,
}

/// How the residual stream is normed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    Rms,
    /// `(x - mean(x)) / sqrt(var(x) + eps) * weight`.
    Layer,
    /// The same `+ bias`.
    LayerWithBias,
}

/// One layer: an attention block and a feed-forward block.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// The attention block.
    pub attention: Attention,
    /// The feed-forward block.
    pub ffn: Ffn,
    /// Where the norms stand and what is added to the residual stream.
    pub residual: Residual,
}

/// How the blocks are normed and joined to the residual stream `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `x += attn(norm(x)); x += ffn(norm(x))`.
    PreNorm,
    /// `x += norm(attn(norm(x))); x += norm(ffn(norm(x)))` (Gemma, GLM 4).
    SandwichNorm,
    /// `x += norm(attn(x)); x += norm(ffn(x))` (OLMo 2, EXAONE 4).
    PostNorm,
    /// `n = norm(x); x += attn(n) + ffn(n)` (Command R, Falcon 7B).
    Parallel,
    /// `x += attn(norm(x)) + ffn(norm(x))`, each norm with its own weights (Falcon 40B).
    ParallelNorms,
}

/// What the file calls the tensors whose names differ between architectures, without `blk.N.` and `.weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The norm before attention.
    pub attn_norm: &'static str,
    /// The norm before the feed-forward block.
    pub ffn_norm: &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Self { attn_norm: "attn_norm", ffn_norm: "ffn_norm" }
    }
}

impl Residual {
    /// Whether attention's input is normed.
    #[must_use]
    pub fn norms_attention(self) -> bool {
        self != Self::PostNorm
    }

    /// Whether the feed-forward block's input is normed by weights of its own.
    #[must_use]
    pub fn norms_ffn(self) -> bool {
        matches!(self, Self::PreNorm | Self::SandwichNorm | Self::ParallelNorms)
    }

    /// Whether the blocks' outputs are normed.
    #[must_use]
    pub fn norms_outputs(self) -> bool {
        matches!(self, Self::SandwichNorm | Self::PostNorm)
    }

    /// Whether both blocks read the residual stream as it was before the layer.
    #[must_use]
    pub fn is_parallel(self) -> bool {
        matches!(self, Self::Parallel | Self::ParallelNorms)
    }
}

impl DecoderSpec {
    /// Elements of keys and values that one token leaves in the KV cache, over all layers.
    #[must_use]
    pub fn kv_elements_per_token(&self) -> usize {
        self.layers.iter().map(|l| l.attention.key_cache_size() + l.attention.value_cache_size()).sum()
    }

    /// The longest sequence that can be computed, where there is a limit.
    #[must_use]
    pub fn max_positions(&self) -> Option<usize> {
        self.learned_positions
    }
}
