//! The model as data. Closed enums: an executor's `match` fails to compile when a kind is added.

use crate::{Attention, Ffn, Mask};

/// A transformer of one stack of layers: a decoder, or an encoder like BERT.
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
    /// Rows of a table of learned vectors, one a kind of text (BERT's segments); the first of them is added to all token
    /// embeddings.
    pub token_types: Option<usize>,
    /// Token embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Whether the embeddings, all that is added to them included, are normed before the first layer (BERT).
    pub embedding_norm: bool,
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
    /// What stands behind the last layer.
    pub head: Head,
    /// How the file would have hidden states made one vector for a text, where it says so.
    pub pooling: Option<Pooling>,
    /// What the file calls some tensors.
    pub names: Names,
}

/// What stands behind the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A norm, and a matrix that makes logits of hidden states: the model chooses tokens.
    Logits,
    /// Nothing: the residual stream is all that the model gives.
    None,
}

/// How the hidden states of a text's tokens are made one vector: `{arch}.pooling_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Not at all: each token has its own.
    None,
    /// Their mean.
    Mean,
    /// The first token's.
    Cls,
    /// The last token's.
    Last,
    /// A score of the first token's by a classifier: the model ranks texts.
    Rank,
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
    /// `x += attn(x); x += ffn(norm(x))` (ModernBERT's first layer, whose inputs the norm of the embeddings has normed).
    PreFfnNorm,
    /// `x += norm(attn(norm(x))); x += norm(ffn(norm(x)))` (Gemma, GLM 4).
    SandwichNorm,
    /// `x += norm(attn(x)); x += norm(ffn(x))` (OLMo 2, EXAONE 4).
    PostNorm,
    /// `x = norm(x + attn(x)); x = norm(x + ffn(x))` (BERT).
    NormedSum,
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
    /// The norm behind attention.
    pub post_attention_norm: &'static str,
    /// The norm behind the feed-forward block.
    pub post_ffw_norm: &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            attn_norm: "attn_norm",
            ffn_norm: "ffn_norm",
            post_attention_norm: "post_attention_norm",
            post_ffw_norm: "post_ffw_norm",
        }
    }
}

impl Pooling {
    /// llama.cpp's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
            Self::Rank => "rank",
        }
    }
}

impl Residual {
    /// Whether attention's input is normed.
    #[must_use]
    pub fn norms_attention(self) -> bool {
        !matches!(self, Self::PreFfnNorm | Self::PostNorm | Self::NormedSum)
    }

    /// Whether the feed-forward block's input is normed by weights of its own.
    #[must_use]
    pub fn norms_ffn(self) -> bool {
        matches!(self, Self::PreNorm | Self::PreFfnNorm | Self::SandwichNorm | Self::ParallelNorms)
    }

    /// Whether a norm stands behind each block: of its output, or of the sum.
    #[must_use]
    pub fn has_post_norms(self) -> bool {
        matches!(self, Self::SandwichNorm | Self::PostNorm | Self::NormedSum)
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

    /// Whether tokens see those after them, so that one step must have all tokens of a sequence.
    #[must_use]
    pub fn is_encoder(&self) -> bool {
        let sees_later = |mask: Mask| matches!(mask, Mask::Bidirectional | Mask::Symmetric { .. });
        self.layers.iter().any(|layer| sees_later(layer.attention.mask))
    }

    /// The longest sequence that can be computed, where there is a limit.
    #[must_use]
    pub fn max_positions(&self) -> Option<usize> {
        self.learned_positions
    }
}
