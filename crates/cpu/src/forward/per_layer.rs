//! What each layer gets of each token beside the residual stream, and what a layer ends with.

use model::{Activation, Norm as NormKind, PerLayerInputs};

use super::{Buffers, Forward, PostNorm, matmul, norm};
use crate::{
    batch::Batch,
    ops::{Write, gated_act::gated_act, matmul::Product, norm::Norm},
    weights::{Model, Weight},
};

impl Forward {
    /// Makes the inputs of all layers from the token embeddings, where the model has them.
    pub(super) fn load_per_layer_inputs(&mut self, model: &Model, batch: &Batch) {
        let (Some(weights), Some(size)) = (&model.weights.per_layer_inputs, model.spec.per_layer_inputs) else {
            return;
        };
        let PerLayerInputs { token_embd, proj, proj_norm } = weights;
        // per_layer_proj
        self.load_hidden(model, None);
        let Self { compute, buffers: Buffers { x, per_layer, .. }, .. } = self;
        per_layer.resize(x.num_tokens() * proj.num_rows(), 0.0);
        matmul::matmul(compute, model, x, [Product::plain(proj, per_layer)]);
        // The norm would undo a scale but for its epsilon, which is scaled instead.
        let eps = model.spec.norm_eps * model.spec.hidden_size as f32;
        let norm_of_proj = Norm { kind: NormKind::Rms, weight: proj_norm.vector(), bias: &[], eps };
        norm::heads(compute, norm_of_proj, size, per_layer);
        // per_layer_embed
        let (isa, scale, half) = (compute.isa, (size as f32).sqrt(), std::f32::consts::FRAC_1_SQRT_2);
        compute.pool.for_each_chunk(per_layer, proj.num_rows(), |token, row, scratch| {
            scratch.position.resize(row.len(), 0.0);
            token_embd.decode_row(&model.gguf, isa, batch.input_ids[token] as usize, &mut scratch.position);
            row.iter_mut().zip(&scratch.position).for_each(|(x, embd)| *x = (*x + scale * embd) * half);
        });
    }

    /// Adds the third block and scales the residual stream, where the layer has them.
    pub(super) fn per_layer_block(&mut self, model: &Model, layer_idx: usize) {
        let weights = &model.weights.layers[layer_idx];
        if let (Some(block), Some(size)) = (&weights.per_layer_block, model.spec.per_layer_inputs) {
            // per_layer_gate
            self.load_hidden(model, None);
            let Self { compute, buffers: Buffers { x, gate, up, per_layer, .. }, .. } = self;
            gate.resize(x.num_tokens() * size, 0.0);
            matmul::matmul(compute, model, x, [Product::of(&block.gate, gate, Write::Replace)]);
            up.clear();
            let rows = per_layer.chunks_exact(size * model.spec.layers.len());
            rows.for_each(|row| up.extend_from_slice(&row[layer_idx * size..][..size]));
            // per_layer_activation
            gated_act(compute, Activation::GeluTanh, (gate, up), size, x);
            matmul::quantize(compute, model, x);
            // per_layer_proj, then its norm
            self.add_branch(model, &block.proj, PostNorm::Output(&block.post_norm));
        }
        // output_scale
        if let Some(scale) = weights.output_scale.as_ref().map(Weight::vector) {
            self.buffers.hidden.iter_mut().for_each(|x| *x *= scale[0]);
        }
    }
}
