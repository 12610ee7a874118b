//! The tensors of a decoder, generic over what an executor makes of each. Matrices are `[rows, columns]` here; GGUF lists
//! the columns first.
//!
//! A tensor of the file that holds several matrices (queries, keys and values; gate and up) comes as one tensor for
//! each, which is some of its rows.

mod try_map;

use crate::{DecoderSpec, RopeScaling};

/// All weights of a decoder. `T` is a [`gguf::TensorInfo`] once resolved, then an executor's own tensor.
#[derive(Clone, Debug)]
pub struct DecoderWeights<T> {
    /// `[vocab_size, hidden_size]`; also the output matrix when `output` is `None`.
    pub token_embd: T,
    /// `[learned_positions, hidden_size]`, with [`DecoderSpec::learned_positions`].
    pub position_embd: Option<T>,
    /// `[token_types, hidden_size]`, with [`DecoderSpec::token_types`].
    pub token_types: Option<T>,
    /// With [`DecoderSpec::embedding_norm`].
    pub token_embd_norm: Option<NormWeights<T>>,
    /// With [`DecoderSpec::per_layer_inputs`].
    pub per_layer_inputs: Option<PerLayerInputs<T>>,
    /// Before the output matrix; with [`crate::Head::Logits`].
    pub output_norm: Option<NormWeights<T>>,
    /// `[vocab_size, hidden_size]`; `None` when tied to `token_embd`, or without [`crate::Head::Logits`].
    pub output: Option<T>,
    /// `[1]`: logits are multiplied by this beside [`DecoderSpec::logit_scale`]; the scale of `output` as of [`Linear`].
    pub output_scale: Option<T>,
    /// Divisors of the rotary frequencies.
    pub rope_factors: RopeFactors<T>,
    /// The layers, first to last.
    pub layers: Vec<LayerWeights<T>>,
}

/// Divisors of the rotary frequencies, `[rope.dim / 2]`.
#[derive(Clone, Debug)]
pub enum RopeFactors<T> {
    /// All are 1.
    None,
    /// For every position (Llama 3).
    All(T),
    /// With [`RopeScaling::Long`].
    Long {
        /// Where sequences may be longer than the original context.
        long: T,
        /// Where they may not.
        short: T,
    },
}

/// The weights of a layer.
#[derive(Clone, Debug)]
pub struct LayerWeights<T> {
    /// Where attention's inputs are normed.
    pub attn_norm: Option<NormWeights<T>>,
    /// What makes queries, keys and values.
    pub attention: AttentionWeights<T>,
    /// `[num_heads]`, with [`crate::Attention::sinks`].
    pub attn_sinks: Option<T>,
    /// `[hidden_size, output_size]`.
    pub attn_output: Linear<T>,
    /// Where a norm stands behind the blocks: [`crate::Residual::has_post_norms`].
    pub post_attention_norm: Option<NormWeights<T>>,
    /// Where the feed-forward block has a norm of its own.
    pub ffn_norm: Option<NormWeights<T>>,
    /// The feed-forward block.
    pub ffn: FfnWeights<T>,
    /// Where a norm stands behind the blocks: [`crate::Residual::has_post_norms`].
    pub post_ffw_norm: Option<NormWeights<T>>,
    /// With [`DecoderSpec::per_layer_inputs`]: a third block.
    pub per_layer_block: Option<PerLayerBlock<T>>,
    /// `[1]`: the residual stream is multiplied by this at the layer's end.
    pub output_scale: Option<T>,
}

/// What all layers get of a token, `n` elements each: `(token_embd[id] * sqrt(n) + rms_norm(proj(x) / sqrt(hidden_size))) /
/// sqrt(2)`, where `x` is the scaled token embedding; layer `i` gets the `i`th `n` elements, each normed on its own.
#[derive(Clone, Debug)]
pub struct PerLayerInputs<T> {
    /// `[vocab_size, num_layers * n]`.
    pub token_embd: T,
    /// `[num_layers * n, hidden_size]`.
    pub proj: T,
    /// `[n]`.
    pub proj_norm: T,
}

/// `x += rms_norm(proj(gelu(gate(x)) * input))`, behind the feed-forward block.
#[derive(Clone, Debug)]
pub struct PerLayerBlock<T> {
    /// `[n, hidden_size]`.
    pub gate: Linear<T>,
    /// `[hidden_size, n]`.
    pub proj: Linear<T>,
    /// The norm of the block's output.
    pub post_norm: NormWeights<T>,
}

/// The weights of a norm of the residual stream.
#[derive(Clone, Debug)]
pub struct NormWeights<T> {
    /// `[hidden_size]`.
    pub weight: T,
    /// `[hidden_size]`, with [`crate::Norm::LayerWithBias`].
    pub bias: Option<T>,
}

/// What makes queries, keys and values.
#[derive(Clone, Debug)]
pub enum AttentionWeights<T> {
    /// A matrix for each.
    Heads(Box<HeadWeights<T>>),
    /// Of [`crate::Latent`].
    Latent(Box<LatentWeights<T>>),
    /// Queries alone, with [`crate::Attention::kv_source`].
    Queries(Box<QueryWeights<T>>),
}

/// A matrix for queries, keys and values each.
#[derive(Clone, Debug)]
pub struct HeadWeights<T> {
    /// `[q_size, hidden_size]`.
    pub q: Linear<T>,
    /// `[kv_size, hidden_size]`.
    pub k: Linear<T>,
    /// `[kv_size, hidden_size]`.
    pub v: Linear<T>,
    /// Of the shape that [`crate::QkNorm`] says, as a vector.
    pub q_norm: Option<T>,
    /// Of the shape that [`crate::QkNorm`] says, as a vector.
    pub k_norm: Option<T>,
}

/// A matrix for queries alone.
#[derive(Clone, Debug)]
pub struct QueryWeights<T> {
    /// `[q_size, hidden_size]`.
    pub q: Linear<T>,
    /// Of the shape that [`crate::QkNorm`] says, as a vector.
    pub q_norm: Option<T>,
}

/// The matrices of [`crate::Latent`].
#[derive(Clone, Debug)]
pub struct LatentWeights<T> {
    /// `[q_rank, hidden_size]` and the norm of its output, `[q_rank]`; with [`crate::Latent::q_rank`].
    pub q_a: Option<(T, T)>,
    /// `[num_heads * (nope_dim + rope.dim), q_rank or hidden_size]`.
    pub q_b: T,
    /// `[kv_rank + rope.dim, hidden_size]`.
    pub kv_a: T,
    /// `[kv_rank]`.
    pub kv_a_norm: T,
    /// What takes the unrotated part of a query head to the latent.
    pub k_b: LatentKeys<T>,
    /// `[value_dim, kv_rank]` for each head.
    pub v_b: Stacked<T>,
}

/// What takes the unrotated part of a query head to the latent.
#[derive(Clone, Debug)]
pub enum LatentKeys<T> {
    /// `[num_heads, kv_rank, nope_dim]`.
    Absorbed(T),
    /// `[nope_dim, kv_rank]` for each head, to be transposed: older files.
    Transposed(Vec<T>),
}

/// Matrices of equal shape.
#[derive(Clone, Debug)]
pub enum Stacked<T> {
    /// One behind the other in one tensor, `[count, rows, columns]`.
    One(T),
    /// A tensor each, `[rows, columns]`.
    Each(Vec<T>),
}

/// The weights of a feed-forward block, of the kind that [`crate::Ffn`] says.
#[derive(Clone, Debug)]
pub enum FfnWeights<T> {
    /// Of [`crate::Ffn::Gated`].
    Gated(GatedWeights<T>),
    /// Of [`crate::Ffn::Plain`].
    Plain(PlainWeights<T>),
    /// Of [`crate::Ffn::Moe`].
    Moe(Box<MoeWeights<T>>),
    /// Of [`crate::Ffn::GatedAndMoe`].
    GatedAndMoe(Box<GatedAndMoeWeights<T>>),
}

/// `gated_norm(gated(ffn_norm(x))) + experts_norm(experts(experts_input_norm(x)))`, where `x` is the residual stream; the
/// experts of a token are chosen by `router(router_norm(x) / sqrt(hidden_size))`. All norms are RMS.
#[derive(Clone, Debug)]
pub struct GatedAndMoeWeights<T> {
    /// The gated block.
    pub gated: GatedWeights<T>,
    /// The norm of its output.
    pub gated_norm: NormWeights<T>,
    /// `[hidden_size]`: of the router's input.
    pub router_norm: T,
    /// The norm of the experts' input.
    pub experts_input_norm: NormWeights<T>,
    /// The experts.
    pub moe: MoeWeights<T>,
    /// The norm of their output.
    pub experts_norm: NormWeights<T>,
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub struct GatedWeights<T> {
    /// `[size, hidden_size]`.
    pub gate: Linear<T>,
    /// `[size, hidden_size]`.
    pub up: Linear<T>,
    /// `[hidden_size, size]`.
    pub down: Linear<T>,
}

/// `down(activation(up(x)))`.
#[derive(Clone, Debug)]
pub struct PlainWeights<T> {
    /// `[size, hidden_size]`.
    pub up: Linear<T>,
    /// `[hidden_size, size]`.
    pub down: Linear<T>,
}

/// The weights of a mixture of experts.
#[derive(Clone, Debug)]
pub struct MoeWeights<T> {
    /// `[num_experts, hidden_size]`.
    pub router: Linear<T>,
    /// `[num_experts]`: added to the scores when experts are chosen, but not to their weights.
    pub selection_bias: Option<T>,
    /// `[num_experts, size, hidden_size]`.
    pub gate: ExpertLinear<T>,
    /// `[num_experts, size, hidden_size]`.
    pub up: ExpertLinear<T>,
    /// `[num_experts, hidden_size, size]`.
    pub down: ExpertLinear<T>,
    /// With [`crate::Moe::shared`], of which it is the expert.
    pub shared: Option<SharedExpert<T>>,
}

/// A matrix of each expert, with its scale and bias where the file has them: as of [`Linear`].
#[derive(Clone, Debug)]
pub struct ExpertLinear<T> {
    /// `[num_experts, rows, columns]`.
    pub weight: Stacked<T>,
    /// `[num_experts]`.
    pub scale: Option<T>,
    /// `[num_experts, rows]`, as a vector.
    pub bias: Option<T>,
}

/// The expert that every token passes.
#[derive(Clone, Debug)]
pub struct SharedExpert<T> {
    /// `[hidden_size]`, with [`crate::SharedWeight::Sigmoid`]: the expert's weight is the sigmoid of its dot product with
    /// the token.
    pub router: Option<T>,
    /// The expert.
    pub expert: GatedWeights<T>,
}

/// `scale * weight x + bias`: a matrix, with its scale and bias where the file has them.
#[derive(Clone, Debug)]
pub struct Linear<T> {
    /// `[rows, columns]`.
    pub weight: T,
    /// `[1]`, of NVFP4 files: what the scales of blocks, which are 8 bits wide, have in common.
    pub scale: Option<T>,
    /// `[rows]`.
    pub bias: Option<T>,
}

impl<T> RopeFactors<T> {
    /// The factors to be used for sequences of up to `max_model_len` tokens, all positions alike: keys in the cache are
    /// rotated once and for all.
    #[must_use]
    pub fn select(&self, spec: &DecoderSpec, max_model_len: usize) -> Option<&T> {
        match self {
            Self::None => None,
            Self::All(factors) => Some(factors),
            Self::Long { long, short } => {
                let is_long = |scaling: &RopeScaling| matches!(scaling, RopeScaling::Long { original_context } if max_model_len > *original_context);
                let any_long = spec.layers.iter().any(|layer| is_long(&layer.attention.rope.scaling));
                Some(if any_long { long } else { short })
            }
        }
    }
}
