//! The decoder as data. Closed enums: an executor's `match` fails to compile when a kind is added.

use crate::Rope;

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
    /// Token embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Epsilon of every RMS norm.
    pub norm_eps: f32,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// Logits become `cap * tanh(logits / cap)`.
    pub logit_softcap: Option<f32>,
}

/// One layer: attention, then feed-forward, each normed before and added to the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// The attention block.
    pub attention: Attention,
    /// The feed-forward block.
    pub ffn: Ffn,
    /// Whether the blocks' outputs are normed too, before they are added (Gemma).
    pub post_norms: bool,
}

/// Grouped-query attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Elements of a head (query, key and value).
    pub head_dim: usize,
    /// Which earlier positions a token sees.
    pub mask: Mask,
    /// Position embedding of queries and keys.
    pub rope: Rope,
    /// Queries are multiplied by this.
    pub scale: f32,
    /// Whether each query and key head is RMS-normed before the rotation.
    pub qk_norm: bool,
    /// Scores become `cap * tanh(scores / cap)`.
    pub softcap: Option<f32>,
}

/// Which earlier positions a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Full,
    /// The last `window` tokens, itself included.
    Sliding {
        /// Tokens seen.
        window: usize,
    },
}

/// The feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ffn {
    /// `down(activation(gate(x)) * up(x))`.
    Gated {
        /// Width of the inner layer.
        size: usize,
        /// The gate's activation.
        activation: Activation,
    },
    /// A mixture of experts: each token passes the few that its router prefers.
    Moe(Moe),
}

/// A mixture of gated experts. The router's logits become probabilities by a softmax over all experts; a token's output
/// is the sum of its most probable experts' outputs times their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moe {
    /// Experts to choose from.
    pub num_experts: usize,
    /// Experts that each token passes; of equally probable ones those that stand first.
    pub num_used: usize,
    /// Width of an expert's inner layer.
    pub size: usize,
    /// The experts' activation.
    pub activation: Activation,
    /// Whether the chosen experts' probabilities are divided by their sum to be weights; else they are the weights.
    pub normalize: bool,
    /// Width of the inner layer of one more expert that every token passes, with a weight of its own: the sigmoid of a
    /// dot product.
    pub shared_size: Option<usize>,
}

/// The activation of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

impl Attention {
    /// Width of all query heads.
    #[must_use]
    pub fn q_size(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    #[must_use]
    pub fn kv_size(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}

impl DecoderSpec {
    /// Elements of keys and values that one token leaves in the KV cache, over all layers.
    #[must_use]
    pub fn kv_elements_per_token(&self) -> usize {
        self.layers.iter().map(|l| 2 * l.attention.kv_size()).sum()
    }
}
