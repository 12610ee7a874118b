//! Where norms stand between the blocks, and what they add to the residual stream.

use model::{FfnWeights, Norm as NormKind, NormWeights, Residual};

use crate::{
    device::Span,
    error::CudaError,
    ops::{
        act_out::ActOut,
        norm::{Branch, Norm, NormCall, Rows},
    },
    stage::Stage,
    weights::Weight,
};

use super::Step;

impl Step<'_> {
    /// The norm before the first layer. Learned positions lie in `branch`.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        self.stage(Stage::Norm, |f| {
            let positions = f.model.weights.position_embd.as_ref();
            let branch = positions.map(|_| Branch { values: self.branch(), weight: None, scale: 1.0, sum_scale: None });
            let norm = Some((self.norm(f.model.weights.layers[0].attn_norm.as_ref()), self.layer_inputs(0)?));
            f.ops.norm.run(&f.device, &self.norm_call(branch, norm))
        })
    }

    /// What stands between attention and the feed-forward block: nothing where both have the same inputs.
    pub(super) fn turn(&self, layer_idx: usize) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights.layers[layer_idx];
        let branch = match self.spec(layer_idx).residual {
            Residual::PreNorm | Residual::SandwichNorm | Residual::PostNorm | Residual::NormedSum => {
                Some(self.added(weights.post_attention_norm.as_ref()))
            }
            // The feed-forward block adds to what attention left.
            Residual::ParallelNorms => None,
            Residual::Parallel => return Ok(()),
        };
        self.stage(Stage::Norm, |f| {
            let norm = Some((self.norm(weights.ffn_norm.as_ref()), self.ffn_inputs(&weights.ffn)?));
            f.ops.norm.run(&f.device, &self.norm_call(branch, norm))
        })
    }

    /// Adds the layer's output, and norms for the next layer; after the last one only the addition is left.
    pub(super) fn leave(&self, layer_idx: usize) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights.layers[layer_idx];
        let post_norm = match &weights.per_layer_block {
            Some(block) => {
                self.per_layer_block(layer_idx, block)?;
                Some(&block.post_norm)
            }
            None => weights.post_ffw_norm.as_ref(),
        };
        self.stage(Stage::Norm, |f| {
            let norm = match f.model.weights.layers.get(layer_idx + 1) {
                Some(next) => Some((self.norm(next.attn_norm.as_ref()), self.layer_inputs(layer_idx + 1)?)),
                None => None,
            };
            let sum_scale = weights.output_scale.as_ref().map(Weight::vector);
            let branch = Branch { sum_scale, ..self.added(post_norm) };
            f.ops.norm.run(&f.device, &self.norm_call(Some(branch), norm))
        })
    }

    /// The norm of the rows whose logits are wanted.
    pub(super) fn output_norm(&self, out: ActOut) -> NormCall {
        let f = self.forward;
        let picked = f.array(&f.layout.logit_tokens, self.shape.rows);
        let norm = self.norm(f.model.weights.output_norm.as_ref());
        NormCall { rows: Rows::Picked(picked), ..self.norm_call(None, Some((norm, out))) }
    }

    /// What the feed-forward block adds to, where attention's output waits for it.
    pub(super) fn ffn_residual(&self, layer_idx: usize) -> Option<Span<f32>> {
        self.spec(layer_idx).residual.is_parallel().then(|| self.branch())
    }

    /// A block's output, `[tokens, hidden]`.
    pub(super) fn branch(&self) -> Span<f32> {
        let f = self.forward;
        f.buffers.branch.rows(self.shape.tokens, f.model.spec.hidden_size)
    }

    /// Where the inputs of a layer go: those of attention, and of the feed-forward block where it has the same.
    fn layer_inputs(&self, layer_idx: usize) -> Result<ActOut, CudaError> {
        let f = self.forward;
        let (attention, hidden) = (self.attention_inputs(layer_idx)?, f.model.spec.hidden_size);
        if self.spec(layer_idx).residual != Residual::Parallel {
            return Ok(attention);
        }
        let ffn = self.ffn_inputs(&f.model.weights.layers[layer_idx].ffn)?;
        if ffn == attention { Ok(ffn) } else { f.buffers.act_hidden.both(self.shape.tokens, hidden) }
    }

    fn ffn_inputs(&self, weights: &FfnWeights<Weight>) -> Result<ActOut, CudaError> {
        match weights {
            FfnWeights::Gated(ffn) => self.hidden_inputs(&[&ffn.gate, &ffn.up]),
            FfnWeights::Plain(ffn) => self.hidden_inputs(&[&ffn.up]),
            FfnWeights::Moe(_) => self.expert_inputs(),
        }
    }

    pub(super) fn added(&self, norm: Option<&NormWeights<Weight>>) -> Branch {
        let scale = self.forward.model.spec.residual_scale;
        Branch { values: self.branch(), weight: norm.map(|norm| norm.weight.vector()), scale, sum_scale: None }
    }

    fn norm(&self, weights: Option<&NormWeights<Weight>>) -> Norm {
        let Some(NormWeights { weight, bias }) = weights else { return Norm::None };
        match self.forward.model.spec.norm {
            NormKind::Rms => Norm::Rms { weight: weight.vector() },
            NormKind::Layer | NormKind::LayerWithBias => {
                Norm::Layer { weight: Some(weight.vector()), bias: bias.as_ref().map(Weight::vector) }
            }
        }
    }

    pub(super) fn norm_call(&self, branch: Option<Branch>, norm: Option<(Norm, ActOut)>) -> NormCall {
        let (f, spec) = (self.forward, &self.forward.model.spec);
        NormCall {
            x: f.buffers.hidden.rows(self.shape.tokens, spec.hidden_size),
            cols: spec.hidden_size,
            rows: Rows::First(self.shape.tokens),
            branch,
            norm,
            eps: spec.norm_eps,
        }
    }
}
