//! What each layer gets of each token beside the residual stream, and the block that adds it.

use model::{Activation, DecoderSpec, PerLayerBlock, PerLayerInputs};

use crate::{
    buffers::{Act, Floats},
    device::{Device, Span},
    error::CudaError,
    ops::{
        embed::EmbedCall,
        gated_act::{GatedActCall, Inner},
        matmul::Segment,
        norm::{Branch, Norm, NormCall, Rows},
    },
    stage::Stage,
    weights::Weight,
};

use super::{Step, segment};

/// Sizes of the largest step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerLayerSizes {
    tokens: usize,
    num_layers: usize,
    /// Elements of a layer.
    each: usize,
}

/// The buffers.
pub(super) struct PerLayer {
    /// What all layers get, `[tokens, num_layers * each]`.
    inputs: Floats,
    /// The share of the token embeddings' projection, likewise.
    projected: Floats,
    /// The block's gate, `[tokens, each]`, and what it lets through.
    gate: Floats,
    act: Act,
}

impl PerLayerSizes {
    /// Of a model; `None` where layers get nothing.
    pub(super) fn new(spec: &DecoderSpec, tokens: usize) -> Option<Self> {
        spec.per_layer_inputs.map(|each| Self { tokens, num_layers: spec.layers.len(), each })
    }

    /// Bytes of all buffers.
    pub(super) fn num_bytes(&self) -> usize {
        let Self { tokens, num_layers, each } = *self;
        4 * tokens * each * (2 * num_layers + 1) + tokens * Act::row_bytes(each)
    }
}

impl PerLayer {
    pub(super) fn new(device: &Device, sizes: &PerLayerSizes) -> Result<Self, CudaError> {
        let PerLayerSizes { tokens, num_layers, each } = *sizes;
        Ok(Self {
            inputs: Floats::new(device, tokens * num_layers * each)?,
            projected: Floats::new(device, tokens * num_layers * each)?,
            gate: Floats::new(device, tokens * each)?,
            act: Act::new(device, tokens, each)?,
        })
    }
}

impl Step<'_> {
    /// Makes the inputs of all layers from the token embeddings in the residual stream.
    pub(super) fn load_per_layer_inputs(&self) -> Result<(), CudaError> {
        let f = self.forward;
        let (Some(weights), Some(buffers)) = (&f.model.weights.per_layer_inputs, &f.per_layer) else { return Ok(()) };
        let PerLayerInputs { token_embd, proj, proj_norm } = weights;
        let (tokens, hidden, cols) = (self.shape.tokens, f.model.spec.hidden_size, proj.matrix().rows());
        let each = proj_norm.vector().len();
        let (x, projected) = (buffers.inputs.rows(tokens, cols), buffers.projected.rows(tokens, cols));
        let act = f.buffers.act_hidden.out(f.activation_kind(&[proj.matrix()], tokens), tokens, hidden)?;
        self.stage(Stage::Embed, |f| {
            let (ids, chosen) = (f.array(&f.layout.input_ids, tokens), f.sampling.next_ids());
            let factor = (each as f32).sqrt() * std::f32::consts::FRAC_1_SQRT_2;
            f.ops
                .embed
                .run(&f.device, &EmbedCall { matrix: token_embd.matrix(), ids, chosen, out: x, factor, added: None })?;
            f.ops.norm.run(&f.device, &self.norm_call(None, Some((Norm::None, act.into()))))?;
            self.matmul(act, &[Segment::plain(proj.matrix(), projected)])?;
            let scale = std::f32::consts::FRAC_1_SQRT_2;
            let branch = Branch { values: projected, weight: Some(proj_norm.vector()), scale, sum_scale: None };
            // The projection is not scaled by 1 / sqrt(hidden): its norm would undo that, but for epsilon.
            let eps = f.model.spec.norm_eps * hidden as f32;
            let rows = Rows::First(tokens * f.model.spec.layers.len());
            f.ops.norm.run(&f.device, &NormCall { x, cols: each, rows, branch: Some(branch), norm: None, eps })
        })
    }

    /// Adds the feed-forward block's output, then `proj(gelu(gate(x)) * input)` of the sum; the output lies in `branch`.
    pub(super) fn per_layer_block(&self, layer_idx: usize, block: &PerLayerBlock<Weight>) -> Result<(), CudaError> {
        let f = self.forward;
        let buffers = f.per_layer.as_ref().expect("models with inputs of layers have their buffers");
        let (tokens, cols) = (self.shape.tokens, block.gate.weight.matrix().rows());
        let stride = cols * f.model.spec.layers.len();
        let (gate, inputs) = (buffers.gate.rows(tokens, cols), self.hidden_inputs(&[&block.gate])?);
        self.stage(Stage::Norm, |f| {
            let branch = self.added(f.model.weights.layers[layer_idx].post_ffw_norm.as_ref());
            f.ops.norm.run(&f.device, &self.norm_call(Some(branch), Some((Norm::None, inputs.into()))))
        })?;
        self.stage(Stage::GateUp, |_| self.matmul(inputs, &[segment(&block.gate, gate, cols)]))?;
        let out = self.act(&buffers.act, &[&block.proj], cols)?;
        self.stage(Stage::GatedAct, |f| {
            let all: Span<f32> = buffers.inputs.rows(tokens, stride);
            let inner = Inner::Gate { up: all.slice(layer_idx * cols..all.len()), stride };
            let activation = Activation::GeluTanh;
            f.ops.gated_act.run(&f.device, &GatedActCall { gate_up: gate, inner, rows: tokens, cols, activation, out })
        })?;
        self.stage(Stage::FfnDown, |f| {
            self.matmul(out, &[segment(&block.proj, self.branch(), f.model.spec.hidden_size)])
        })
    }
}
