//! The stages of the feed-forward block.

use model::{
    Activation, Ffn, FfnWeights, GatedAndMoeWeights, GatedWeights, Moe, MoeWeights, PlainWeights, SharedExpert,
};

use super::{Buffers, Forward, PostNorm, matmul, stream_norm};
use crate::{
    ops::{
        Write,
        gated_act::{act, gated_act},
        matmul::{GroupedProduct, Product},
        moe,
        norm::{self, Norm},
    },
    weights::{Model, Weight},
};

impl Forward {
    pub(super) fn ffn_block(&mut self, model: &Model, layer_idx: usize) {
        let (spec, weights) = (&model.spec.layers[layer_idx], &model.weights.layers[layer_idx]);
        // ffn_norm
        if spec.residual.is_parallel() {
            std::mem::swap(&mut self.buffers.x, &mut self.buffers.ffn_x);
        } else {
            self.load_hidden(model, weights.ffn_norm.as_ref());
        }
        let post_norm = PostNorm::of(spec.residual, weights.post_ffw_norm.as_ref());
        match (spec.ffn, &weights.ffn) {
            (Ffn::Gated { size, activation }, FfnWeights::Gated(gated)) => {
                self.gate(model, gated, (size, activation));
                // ffn_down, then the post norm where there is one
                self.add_branch(model, &gated.down, post_norm);
            }
            (Ffn::Plain { size, activation }, FfnWeights::Plain(plain)) => {
                self.up(model, plain, (size, activation));
                self.add_branch(model, &plain.down, post_norm);
            }
            (Ffn::Moe(moe), FfnWeights::Moe(experts)) => {
                self.route(model, experts, (moe, 1.0));
                self.experts(model, experts, moe);
                if let (Some(expert), Some(shared)) = (&experts.shared, moe.shared) {
                    self.shared_expert(model, expert, (shared.size, moe.activation));
                }
                // the post norm where there is one
                if let PostNorm::Output(norm) = post_norm {
                    self.add_normed(model, norm);
                } else {
                    let (Buffers { hidden, branch, .. }, scale) = (&mut self.buffers, model.spec.residual_scale);
                    hidden.iter_mut().zip(branch).for_each(|(hidden, x)| *hidden += scale * *x);
                    self.norm_sum(model, post_norm);
                }
            }
            (Ffn::GatedAndMoe { size, moe }, FfnWeights::GatedAndMoe(both)) => {
                self.gated_and_moe(model, both, (size, moe));
                if let PostNorm::Output(norm) = post_norm {
                    self.add_normed(model, norm);
                }
            }
            _ => unreachable!("weights are resolved as the specification says"),
        }
    }

    /// The sum of a gated block and of experts that both read the residual stream, into `branch`.
    fn gated_and_moe(&mut self, model: &Model, weights: &GatedAndMoeWeights<Weight>, (size, moe): (usize, Moe)) {
        let hidden_size = model.spec.hidden_size;
        self.gate(model, &weights.gated, (size, moe.activation));
        // ffn_down and its norm
        let Self { compute, buffers: Buffers { x, gated_out, hidden, .. }, .. } = self;
        let gated_norm = stream_norm(model, &weights.gated_norm);
        gated_out.resize(hidden.len(), 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.gated.down, gated_out, Write::Replace)]);
        norm::rows(compute, gated_norm, gated_out);
        // moe_route
        norm::to_activations(compute, Norm { weight: weights.router_norm.vector(), ..gated_norm }, hidden, x);
        matmul::quantize(compute, model, x);
        self.route(model, &weights.moe, (moe, 1.0 / (hidden_size as f32).sqrt()));
        // the experts and their norm
        self.load_hidden(model, Some(&weights.experts_input_norm));
        self.experts(model, &weights.moe, moe);
        let Self { compute, buffers: Buffers { gated_out, branch, .. }, .. } = self;
        norm::rows(compute, stream_norm(model, &weights.experts_norm), branch);
        branch.iter_mut().zip(gated_out).for_each(|(x, gated)| *x += *gated);
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

    /// Turns the inputs of up into those of down.
    fn up(&mut self, model: &Model, weights: &PlainWeights<Weight>, (size, activation): (usize, Activation)) {
        let Self { compute, buffers: Buffers { x, up, .. }, .. } = self;
        // up
        up.resize(x.num_tokens() * size, 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.up, up, Write::Replace)]);
        // activation
        act(compute, activation, up, size, x);
        matmul::quantize(compute, model, x);
    }

    /// Chooses experts by the router's logits times `scale`.
    fn route(&mut self, model: &Model, weights: &MoeWeights<Weight>, (spec, scale): (Moe, f32)) {
        let Self { compute, buffers: Buffers { x, routes, gate, .. }, .. } = self;
        // moe_route
        gate.resize(x.num_tokens() * spec.num_experts, 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.router, gate, Write::Replace)]);
        gate.iter_mut().for_each(|logit| *logit *= scale);
        routes.choose(gate, weights.selection_bias.as_ref().map_or(&[], Weight::vector), &spec);
    }

    /// The weighted sum of the experts that were chosen for each token.
    fn experts(&mut self, model: &Model, weights: &MoeWeights<Weight>, spec: Moe) {
        let Self { compute, buffers, .. } = self;
        let Buffers { x, pair_x, routes, gate, up, pair_out, branch, .. } = buffers;
        // expert_gate_up
        moe::gather(compute, routes, x, spec.weighted, pair_x);
        matmul::quantize(compute, model, pair_x);
        gate.resize(routes.num_pairs() * spec.size, 0.0);
        up.resize(routes.num_pairs() * spec.size, 0.0);
        let products = [GroupedProduct::of(&weights.gate, gate), GroupedProduct::of(&weights.up, up)];
        matmul::grouped(compute, (model, routes.groups()), pair_x, products);
        // expert_activation
        gated_act(compute, spec.activation, (gate, up), spec.size, pair_x);
        matmul::quantize(compute, model, pair_x);
        // expert_down
        pair_out.resize(routes.num_pairs() * model.spec.hidden_size, 0.0);
        matmul::grouped(compute, (model, routes.groups()), pair_x, [GroupedProduct::of(&weights.down, pair_out)]);
        // expert_sum
        branch.resize(x.num_tokens() * model.spec.hidden_size, 0.0);
        moe::weighted_sum(compute, routes, spec.weighted, pair_out, branch);
    }

    /// Adds the expert that every token passes.
    fn shared_expert(&mut self, model: &Model, weights: &SharedExpert<Weight>, kind: (usize, Activation)) {
        let Buffers { x, shared_weights, .. } = &mut self.buffers;
        // shared_route
        match &weights.router {
            Some(router) => moe::sigmoid_dots(&mut self.compute, router.vector(), x, shared_weights),
            None => {
                shared_weights.clear();
                shared_weights.resize(x.num_tokens(), 1.0);
            }
        }
        self.gate(model, &weights.expert, kind);
        // shared_down
        let Self { compute, buffers: Buffers { x, shared_weights, pair_out, branch, .. }, .. } = self;
        pair_out.resize(branch.len(), 0.0);
        matmul::matmul(compute, model, x, [Product::of(&weights.expert.down, pair_out, Write::Replace)]);
        moe::add_scaled(compute, shared_weights, pair_out, branch);
    }
}
