//! The forward pass over a batch: the stages in order, every buffer with its shape.

mod attention;
mod ffn;
mod output;
mod per_layer;

use model::{Linear, NormWeights, Residual};
use quant::Activations;
use types::InputSums;

use crate::{
    batch::Batch,
    kv_cache::KvCache,
    ops::{
        Compute, Write,
        embed::embed,
        latent::HeadGroups,
        matmul,
        matmul::Product,
        moe,
        norm::{self, Norm},
        rope::RopeTables,
    },
    weights::{Model, Weight},
};

/// What a forward pass changes: the cache, the buffers and the threads' scratch memory.
pub(crate) struct Forward {
    compute: Compute,
    cache: KvCache,
    ropes: RopeTables,
    buffers: Buffers,
}

/// What the stages hand on; grows to the largest step so far.
#[derive(Default)]
struct Buffers {
    /// The residual stream, `[num_tokens, hidden_size]`.
    hidden: Vec<f32>,
    /// The inputs of the current matrix, `[num_tokens, its columns]`.
    x: Activations,
    /// Of parallel blocks: the inputs of the feed-forward block, `[num_tokens, hidden_size]`.
    ffn_x: Activations,
    /// The inputs of experts, a row for each token and expert chosen for it, `[num_pairs, hidden_size or ffn_size]`; of
    /// latent attention's heads, a row for each token and head.
    pair_x: Activations,
    /// Which experts the tokens pass.
    routes: moe::Routes,
    /// The rows of each head in latent attention.
    heads: HeadGroups,
    /// `[num_tokens, q_size]`.
    q: Vec<f32>,
    /// `[num_tokens, kv_size]`.
    k: Vec<f32>,
    /// `[num_tokens, kv_size]`.
    v: Vec<f32>,
    /// `[num_tokens, ffn_size]`.
    gate: Vec<f32>,
    /// `[num_tokens, ffn_size]`.
    up: Vec<f32>,
    /// A block's output before its norm, `[num_tokens, hidden_size]`.
    branch: Vec<f32>,
    /// The output of a gated block that has experts beside it, `[num_tokens, hidden_size]`.
    gated_out: Vec<f32>,
    /// What the layers get of the tokens, `[num_tokens, num_layers * per_layer_inputs]`.
    per_layer: Vec<f32>,
    /// The experts' outputs, `[num_pairs, hidden_size]`; in latent attention what lies between two matrices.
    pair_out: Vec<f32>,
    /// Each token's weight of the expert that all pass, `[num_tokens]`.
    shared_weights: Vec<f32>,
    /// `[num_logit_tokens, vocab_size]`.
    logits: Vec<f32>,
    /// The hidden states that are asked for, one sequence after the other, `[rows, hidden_size]`.
    given: Vec<f32>,
}

impl Forward {
    /// For sequences of up to `max_model_len` tokens.
    pub(crate) fn new(model: &Model, compute: Compute, cache: KvCache, max_model_len: usize) -> Self {
        let factors = model.weights.rope_factors.select(&model.spec, max_model_len);
        let ropes = RopeTables::new(&model.spec, factors.map(Weight::vector));
        Self { compute, cache, ropes, buffers: Buffers::default() }
    }

    /// Where the inputs of matrices are summed, if they are.
    pub(crate) fn input_sums(&mut self) -> &mut Option<InputSums> {
        &mut self.compute.input_sums
    }

    /// Computes a batch; [`Self::logits`] then has the logits of its `logit_tokens`.
    pub(crate) fn run(&mut self, model: &Model, batch: &Batch) {
        let hidden = &mut self.buffers.hidden;
        hidden.resize(batch.num_tokens() * model.spec.hidden_size, 0.0);
        // embed
        embed(&mut self.compute, model, batch, hidden);
        if let Some(weights) = &model.weights.token_embd_norm {
            norm::rows(&mut self.compute, stream_norm(model, weights), hidden);
        }
        self.load_per_layer_inputs(model, batch);
        self.ropes.set_positions(&batch.positions);
        for layer_idx in 0..model.spec.layers.len() {
            self.attention_block(model, layer_idx, batch);
            self.ffn_block(model, layer_idx);
            self.per_layer_block(model, layer_idx);
        }
        self.compute_logits(model, batch);
        self.compute_hidden(model, batch);
    }

    /// Makes the residual stream, normed where there is a norm, the inputs of matrices.
    fn load_hidden(&mut self, model: &Model, weights: Option<&NormWeights<Weight>>) {
        let Self { compute, buffers: Buffers { hidden, x, .. }, .. } = self;
        match weights {
            Some(weights) => norm::to_activations(compute, stream_norm(model, weights), hidden, x),
            None => norm::copy_to_activations(compute, hidden, model.spec.hidden_size, x),
        }
        matmul::quantize(compute, model, x);
    }

    /// Adds the last matrix of a block to the residual stream, with the norm behind it.
    fn add_branch(&mut self, model: &Model, linear: &Linear<Weight>, post_norm: PostNorm<'_>) {
        let Self { compute, buffers, .. } = self;
        let Buffers { hidden, x, branch, .. } = buffers;
        if let PostNorm::Output(weights) = post_norm {
            branch.resize(hidden.len(), 0.0);
            matmul::matmul(compute, model, x, [Product::of(linear, branch, Write::Replace)]);
            return self.add_normed(model, weights);
        }
        let write = Write::Add { scale: model.spec.residual_scale };
        matmul::matmul(compute, model, x, [Product::of(linear, hidden, write)]);
        self.norm_sum(model, post_norm);
    }

    /// Norms the residual stream, where a norm of it stands behind the block.
    fn norm_sum(&mut self, model: &Model, post_norm: PostNorm<'_>) {
        if let PostNorm::Sum(weights) = post_norm {
            norm::rows(&mut self.compute, stream_norm(model, weights), &mut self.buffers.hidden);
        }
    }

    /// Adds a block's output to the residual stream, normed.
    fn add_normed(&mut self, model: &Model, weights: &NormWeights<Weight>) {
        let Self { compute, buffers: Buffers { hidden, branch, .. }, .. } = self;
        norm::add_to(compute, stream_norm(model, weights), model.spec.residual_scale, branch, hidden);
    }
}

/// The norm behind a block.
#[derive(Clone, Copy)]
enum PostNorm<'a> {
    None,
    /// Of the block's output.
    Output(&'a NormWeights<Weight>),
    /// Of the residual stream with the output added.
    Sum(&'a NormWeights<Weight>),
}

impl<'a> PostNorm<'a> {
    fn of(residual: Residual, weights: Option<&'a NormWeights<Weight>>) -> Self {
        match weights {
            None => Self::None,
            Some(weights) if residual == Residual::NormedSum => Self::Sum(weights),
            Some(weights) => Self::Output(weights),
        }
    }
}

/// A norm of the residual stream.
fn stream_norm<'a>(model: &Model, weights: &'a NormWeights<Weight>) -> Norm<'a> {
    Norm {
        kind: model.spec.norm,
        weight: weights.weight.vector(),
        bias: weights.bias.as_ref().map_or(&[], Weight::vector),
        eps: model.spec.norm_eps,
    }
}
