//! The forward pass over a batch: the stages in order, every buffer with its shape.

use model::{Activation, Ffn, FfnWeights, GatedWeights, Linear, Moe, MoeWeights, SharedExpert};
use quant::Activations;

use crate::{
    batch::Batch,
    kv_cache::KvCache,
    math::softcap,
    ops::{
        Compute, Write, attention::attention, embed::embed, gated_act::gated_act, kv_write::kv_write, matmul,
        matmul::Product, moe, rms_norm, rms_norm::Norm, rope, rope::RopeTables,
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
    /// The inputs of experts, a row for each token and expert chosen for it, `[num_pairs, hidden_size or ffn_size]`.
    expert_x: Activations,
    /// Which experts the tokens pass.
    routes: moe::Routes,
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
    /// The experts' outputs, `[num_pairs, hidden_size]`.
    expert_out: Vec<f32>,
    /// Each token's weight of the expert that all pass, `[num_tokens]`.
    shared_weights: Vec<f32>,
    /// `[num_logit_tokens, vocab_size]`.
    logits: Vec<f32>,
}

impl Forward {
    pub(crate) fn new(model: &Model, compute: Compute, cache: KvCache) -> Self {
        let ropes = RopeTables::new(&model.spec, model.weights.rope_freqs.as_ref().map(Weight::vector));
        Self { compute, cache, ropes, buffers: Buffers::default() }
    }

    /// Computes a batch; [`Self::logits`] then has the logits of its `logit_tokens`.
    pub(crate) fn run(&mut self, model: &Model, batch: &Batch) {
        let hidden = &mut self.buffers.hidden;
        hidden.resize(batch.num_tokens() * model.spec.hidden_size, 0.0);
        // embed
        embed(&mut self.compute, model, &batch.input_ids, hidden);
        self.ropes.set_positions(&batch.positions);
        for layer_idx in 0..model.spec.layers.len() {
            self.attention_block(model, layer_idx, batch);
            self.ffn_block(model, layer_idx);
        }
        self.compute_logits(model, batch);
    }

    /// The logits of the last batch, `[num_logit_tokens, vocab_size]`, and what sampling runs on.
    pub(crate) fn logits(&mut self) -> (&[f32], &mut Compute) {
        (&self.buffers.logits, &mut self.compute)
    }

    fn attention_block(&mut self, model: &Model, layer_idx: usize, batch: &Batch) {
        let Self { compute, cache, ropes, buffers } = self;
        let Buffers { hidden, x, q, k, v, .. } = buffers;
        let (spec, weights) = (&model.spec.layers[layer_idx], &model.weights.layers[layer_idx]);
        let (attn, num_tokens) = (&spec.attention, batch.num_tokens());
        // attn_norm
        rms_norm::to_activations(compute, norm(model, &weights.attn_norm), hidden, x);
        matmul::quantize(compute, model, x);
        // qkv
        q.resize(num_tokens * attn.q_size(), 0.0);
        k.resize(num_tokens * attn.kv_size(), 0.0);
        v.resize(num_tokens * attn.kv_size(), 0.0);
        let products = [
            Product::of(&weights.attn_q, q, Write::Replace),
            Product::of(&weights.attn_k, k, Write::Replace),
            Product::of(&weights.attn_v, v, Write::Replace),
        ];
        matmul::matmul(compute, model, x, products);
        // qk_norm
        for (weight, heads) in [(&weights.attn_q_norm, &mut *q), (&weights.attn_k_norm, &mut *k)] {
            if let Some(weight) = weight {
                rms_norm::heads(compute, norm(model, weight), heads);
            }
        }
        // rope
        let table = ropes.layer(layer_idx);
        rope::rope(compute, table, (attn.q_size(), attn.head_dim), q);
        rope::rope(compute, table, (attn.kv_size(), attn.head_dim), k);
        // kv_write
        let cache = cache.layer_mut(layer_idx);
        kv_write(cache, &batch.slot_mapping, k, v);
        // attention
        attention(compute, attn, (batch, cache), q, x);
        matmul::quantize(compute, model, x);
        // attn_output, then the post norm where there is one
        self.add_branch(model, &weights.attn_output, weights.post_attention_norm.as_ref());
    }

    fn ffn_block(&mut self, model: &Model, layer_idx: usize) {
        let Self { compute, buffers, .. } = self;
        let Buffers { hidden, x, .. } = buffers;
        let (spec, weights) = (&model.spec.layers[layer_idx], &model.weights.layers[layer_idx]);
        // ffn_norm
        rms_norm::to_activations(compute, norm(model, &weights.ffn_norm), hidden, x);
        matmul::quantize(compute, model, x);
        match (spec.ffn, &weights.ffn) {
            (Ffn::Gated { size, activation }, FfnWeights::Gated(gated)) => {
                self.gate(model, gated, (size, activation));
                // ffn_down, then the post norm where there is one
                self.add_branch(model, &gated.down, weights.post_ffw_norm.as_ref());
            }
            (Ffn::Moe(moe), FfnWeights::Moe(experts)) => {
                self.experts(model, experts, moe);
                if let (Some(shared), Some(size)) = (&experts.shared, moe.shared_size) {
                    self.shared_expert(model, shared, (size, moe.activation));
                }
                // the post norm where there is one
                let Self { compute, buffers: Buffers { hidden, branch, .. }, .. } = self;
                match &weights.post_ffw_norm {
                    Some(weight) => rms_norm::add_to(compute, norm(model, weight), branch, hidden),
                    None => hidden.iter_mut().zip(branch).for_each(|(hidden, x)| *hidden += *x),
                }
            }
            _ => unreachable!("weights are resolved as the specification says"),
        }
    }

    /// Turns the inputs of gate and up into those of down.
    fn gate(&mut self, model: &Model, weights: &GatedWeights<Weight>, (size, activation): (usize, Activation)) {
        let Self { compute, buffers, .. } = self;
        let Buffers { x, gate, up, .. } = buffers;
        // gate_up
        gate.resize(x.num_tokens() * size, 0.0);
        up.resize(x.num_tokens() * size, 0.0);
        let products = [Product::of(&weights.gate, gate, Write::Replace), Product::of(&weights.up, up, Write::Replace)];
        matmul::matmul(compute, model, x, products);
        // activation
        gated_act(compute, activation, (gate, up), size, x);
        matmul::quantize(compute, model, x);
    }

    /// The weighted sum of the experts that each token chooses.
    fn experts(&mut self, model: &Model, weights: &MoeWeights<Weight>, spec: Moe) {
        let Self { compute, buffers, .. } = self;
        let Buffers { x, expert_x, routes, gate, up, expert_out, branch, .. } = buffers;
        // moe_route
        gate.resize(x.num_tokens() * spec.num_experts, 0.0);
        let logits = Product { weight: &weights.router, bias: None, out: gate, write: Write::Replace };
        matmul::matmul(compute, model, x, [logits]);
        routes.choose(gate, &spec);
        // expert_gate_up
        moe::gather(compute, routes, x, expert_x);
        matmul::quantize(compute, model, expert_x);
        gate.resize(routes.num_pairs() * spec.size, 0.0);
        up.resize(routes.num_pairs() * spec.size, 0.0);
        moe::matmul(compute, (model, routes), expert_x, [(&weights.gate, gate), (&weights.up, up)]);
        // expert_activation
        gated_act(compute, spec.activation, (gate, up), spec.size, expert_x);
        matmul::quantize(compute, model, expert_x);
        // expert_down
        expert_out.resize(routes.num_pairs() * model.spec.hidden_size, 0.0);
        moe::matmul(compute, (model, routes), expert_x, [(&weights.down, expert_out)]);
        // expert_sum
        branch.resize(x.num_tokens() * model.spec.hidden_size, 0.0);
        moe::weighted_sum(compute, routes, expert_out, branch);
    }

    /// Adds the expert that every token passes.
    fn shared_expert(&mut self, model: &Model, weights: &SharedExpert<Weight>, kind: (usize, Activation)) {
        let Buffers { x, shared_weights, .. } = &mut self.buffers;
        // shared_route
        moe::sigmoid_dots(&mut self.compute, weights.router.vector(), x, shared_weights);
        self.gate(model, &weights.expert, kind);
        // shared_down
        let Self { compute, buffers: Buffers { x, shared_weights, expert_out, branch, .. }, .. } = self;
        expert_out.resize(branch.len(), 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.expert.down, expert_out, Write::Replace)]);
        moe::add_scaled(compute, shared_weights, expert_out, branch);
    }
    /// Adds the last matrix of a block, normed where the architecture says so, to the residual stream.
    fn add_branch(&mut self, model: &Model, linear: &Linear<Weight>, post_norm: Option<&Weight>) {
        let Self { compute, buffers, .. } = self;
        let Buffers { hidden, x, branch, .. } = buffers;
        let Some(weight) = post_norm else {
            return matmul::matmul(compute, model, x, [Product::of(linear, hidden, Write::Add)]);
        };
        branch.resize(hidden.len(), 0.0);
        matmul::matmul(compute, model, x, [Product::of(linear, branch, Write::Replace)]);
        rms_norm::add_to(compute, norm(model, weight), branch, hidden);
    }

    fn compute_logits(&mut self, model: &Model, batch: &Batch) {
        let Self { compute, buffers, .. } = self;
        let Buffers { hidden, branch, x, logits, .. } = buffers;
        let (spec, width) = (&model.spec, model.spec.hidden_size);
        logits.resize(batch.logit_tokens.len() * spec.vocab_size, 0.0);
        if batch.logit_tokens.is_empty() {
            return;
        }
        branch.clear();
        batch.logit_tokens.iter().for_each(|token| branch.extend_from_slice(&hidden[token * width..][..width]));
        // output_norm
        rms_norm::to_activations(compute, norm(model, &model.weights.output_norm), branch, x);
        matmul::quantize(compute, model, x);
        // logits
        let product = Product { weight: model.output(), bias: None, out: logits, write: Write::Replace };
        matmul::matmul(compute, model, x, [product]);
        if let Some(cap) = spec.logit_softcap {
            compute.pool.for_each_chunk(logits, spec.vocab_size, |_, row, _| {
                row.iter_mut().for_each(|x| *x = softcap(*x, cap));
            });
        }
    }
}

fn norm<'a>(model: &Model, weight: &'a Weight) -> Norm<'a> {
    Norm { weight: weight.vector(), eps: model.spec.norm_eps }
}
