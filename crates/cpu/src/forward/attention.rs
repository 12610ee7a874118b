//! The stages of the attention block.

use model::{
    Attention, AttentionWeights, HeadWeights, Latent, LatentKeys, LatentWeights, Norm as NormKind, QkNorm,
    QueryWeights, Values,
};

use super::{Buffers, Forward, PostNorm, matmul, norm};
use crate::{
    batch::Batch,
    ops::{Compute, Write, attention::attention, kv_write::kv_write, latent, matmul::Product, norm::Norm, rope},
    weights::{Matrices, Model, Weight},
};

impl Forward {
    pub(super) fn attention_block(&mut self, model: &Model, layer_idx: usize, batch: &Batch) {
        let (spec, weights) = (&model.spec.layers[layer_idx], &model.weights.layers[layer_idx]);
        if spec.residual.is_parallel() {
            // ffn_norm, before attention changes the residual stream
            self.load_hidden(model, weights.ffn_norm.as_ref().or(weights.attn_norm.as_ref()));
            std::mem::swap(&mut self.buffers.x, &mut self.buffers.ffn_x);
        }
        // attn_norm
        self.load_hidden(model, weights.attn_norm.as_ref());
        match &weights.attention {
            AttentionWeights::Heads(heads) => self.heads(model, layer_idx, heads),
            AttentionWeights::Latent(latent) => self.latent_heads(model, layer_idx, latent),
            AttentionWeights::Queries(queries) => self.queries(model, layer_idx, queries),
        }
        let Self { compute, cache, buffers: Buffers { x, q, k, v, heads, pair_x, pair_out, .. }, .. } = self;
        // kv_write
        let cache = cache.layer_mut(layer_idx);
        if spec.attention.kv_source.is_none() {
            kv_write(cache, &batch.pools[cache.pool_idx].slot_mapping, k, v);
        }
        // attention
        let sinks = weights.attn_sinks.as_ref().map_or(&[][..], Weight::vector);
        attention(compute, (&spec.attention, sinks), (batch, cache), q, x);
        if let (Some(latent), AttentionWeights::Latent(weights)) = (&spec.attention.latent, &weights.attention) {
            // latent_values
            latent::split_heads(compute, x, heads, (0, latent.kv_rank), pair_x);
            matmul::quantize(compute, model, pair_x);
            pair_out.resize(heads.num_rows() * latent.value_dim, 0.0);
            let product = matmul::GroupedProduct::plain(Matrices::of(&weights.v_b), pair_out);
            matmul::grouped(compute, (model, heads.groups()), pair_x, [product]);
            latent::join_values(compute, pair_out, heads, x);
        }
        matmul::quantize(compute, model, x);
        // attn_output, then the post norm where there is one
        let post_norm = PostNorm::of(spec.residual, weights.post_attention_norm.as_ref());
        self.add_branch(model, &weights.attn_output, post_norm);
    }

    /// Queries, keys and values of a matrix each.
    fn heads(&mut self, model: &Model, layer_idx: usize, weights: &HeadWeights<Weight>) {
        let Self { compute, ropes, buffers: Buffers { x, q, k, v, .. }, .. } = self;
        let attn = &model.spec.layers[layer_idx].attention;
        // qkv
        q.resize(x.num_tokens() * attn.q_size(), 0.0);
        k.resize(x.num_tokens() * attn.kv_size(), 0.0);
        v.resize(x.num_tokens() * attn.kv_size(), 0.0);
        let products = [
            Product::of(&weights.q, q, Write::Replace),
            Product::of(&weights.k, k, Write::Replace),
            Product::of(&weights.v, v, Write::Replace),
        ];
        matmul::matmul(compute, model, x, products);
        // qk_norm
        for (weight, heads) in [(&weights.q_norm, &mut *q), (&weights.k_norm, &mut *k)] {
            if let Some(weight) = weight {
                qk_norm(compute, model, attn, weight.vector(), heads);
            }
        }
        // rope
        let table = ropes.layer(layer_idx);
        rope::rope(compute, table, (attn.q_size(), attn.head_dim, 0), q);
        rope::rope(compute, table, (attn.kv_size(), attn.head_dim, 0), k);
        // unit_norm
        let ones = vec![1.0; attn.head_dim];
        if attn.qk_norm == QkNorm::UnitAfterRope {
            for heads in [q, k] {
                qk_norm(compute, model, attn, &ones, heads);
            }
        }
        if attn.values == Values::UnitNorm {
            let unit = Norm { kind: NormKind::Rms, weight: &ones, bias: &[], eps: model.spec.norm_eps };
            norm::heads(compute, unit, attn.head_dim, v);
        }
    }

    /// Queries for the keys and values of another layer.
    fn queries(&mut self, model: &Model, layer_idx: usize, weights: &QueryWeights<Weight>) {
        let Self { compute, ropes, buffers: Buffers { x, q, .. }, .. } = self;
        let attn = &model.spec.layers[layer_idx].attention;
        q.resize(x.num_tokens() * attn.q_size(), 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.q, q, Write::Replace)]);
        if let Some(weight) = &weights.q_norm {
            qk_norm(compute, model, attn, weight.vector(), q);
        }
        rope::rope(compute, ropes.layer(layer_idx), (attn.q_size(), attn.head_dim, 0), q);
    }

    /// Queries and keys of latent attention; the keys are the values too.
    fn latent_heads(&mut self, model: &Model, layer_idx: usize, weights: &LatentWeights<Weight>) {
        let Self { compute, ropes, buffers, .. } = self;
        let Buffers { x, q, k, v, heads, pair_x, pair_out, .. } = buffers;
        let attn = &model.spec.layers[layer_idx].attention;
        let (Some(Latent { kv_rank, nope_dim, .. }), num_tokens) = (attn.latent, x.num_tokens()) else {
            unreachable!("weights are resolved as the specification says")
        };
        let (rope_dim, eps) = (attn.rope.dim, model.spec.norm_eps);
        let latent_norm = |weight| Norm { kind: NormKind::Rms, weight, bias: &[], eps };
        // latent_kv
        k.resize(num_tokens * attn.kv_size(), 0.0);
        v.clear();
        matmul::matmul(compute, model, x, [Product::plain(&weights.kv_a, k)]);
        // latent_q
        if let Some((q_a, q_a_norm)) = &weights.q_a {
            pair_out.resize(num_tokens * q_a.num_rows(), 0.0);
            matmul::matmul(compute, model, x, [Product::plain(q_a, pair_out)]);
            norm::to_activations(compute, latent_norm(q_a_norm.vector()), pair_out, x);
            matmul::quantize(compute, model, x);
        }
        let head_dim = nope_dim + rope_dim;
        pair_out.resize(num_tokens * attn.num_heads * head_dim, 0.0);
        matmul::matmul(compute, model, x, [Product::plain(&weights.q_b, pair_out)]);
        // latent_norm
        norm::parts(compute, latent_norm(weights.kv_a_norm.vector()), attn.kv_size(), k);
        // rope
        let table = ropes.layer(layer_idx);
        rope::rope(compute, table, (attn.num_heads * head_dim, head_dim, nope_dim), pair_out);
        rope::rope(compute, table, (attn.kv_size(), attn.kv_size(), kv_rank), k);
        // latent_absorb
        heads.set(attn.num_heads, num_tokens);
        x.resize(num_tokens, attn.num_heads * head_dim);
        latent::load_rows(compute, pair_out, x);
        latent::split_heads(compute, x, heads, (0, nope_dim), pair_x);
        matmul::quantize(compute, model, pair_x);
        let LatentKeys::Absorbed(k_b) = &weights.k_b else { unreachable!("keys are absorbed when a model is loaded") };
        pair_out.resize(heads.num_rows() * kv_rank, 0.0);
        let product = matmul::GroupedProduct::plain(Matrices::One(k_b), pair_out);
        matmul::grouped(compute, (model, heads.groups()), pair_x, [product]);
        q.resize(num_tokens * attn.q_size(), 0.0);
        latent::join_queries(compute, (pair_out, x), heads, (kv_rank, rope_dim), q);
    }
}

/// Norms heads, one by one or all of a token together.
fn qk_norm(compute: &mut Compute, model: &Model, attn: &Attention, weight: &[f32], heads: &mut [f32]) {
    // The bias is the residual stream's alone.
    let kind = if model.spec.norm == NormKind::Rms { NormKind::Rms } else { NormKind::Layer };
    let len = if attn.qk_norm == QkNorm::AllHeads { weight.len() } else { attn.head_dim };
    norm::heads(compute, Norm { kind, weight, bias: &[], eps: model.spec.norm_eps }, len, heads);
}
