//! Where norms stand between the blocks, and what they add to the residual stream.

use model::{FfnWeights, Norm as NormKind, NormWeights, Residual};

use crate::{
    device::Span,
    error::CudaError,
    ops::{
        act_out::ActOut,
        norm::{Branch, Norm, NormCall, Normed, Rows},
    },
    stage::Stage,
    weights::Weight,
};

use super::Step;

impl Step<'_> {
    /// The norm before the first layer. Learned positions lie in `branch`.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights;
        let positions = weights.position_embd.as_ref();
        let branch = positions.map(|_| Branch { values: self.branch(), weight: None, scale: 1.0, sum_scale: None });
        let inputs = (weights.layers[0].attn_norm.as_ref(), self.layer_inputs(0)?);
        self.add_and_norm((branch, weights.token_embd_norm.as_ref()), Some(inputs))
    }

    /// What stands between attention and the feed-forward block: nothing where both have the same inputs.
    pub(super) fn turn(&self, layer_idx: usize) -> Result<(), CudaError> {
        let weights = &self.forward.model.weights.layers[layer_idx];
        let sum = match self.spec(layer_idx).residual {
            Residual::PreNorm
            | Residual::PreFfnNorm
            | Residual::SandwichNorm
            | Residual::PostNorm
            | Residual::NormedSum => {
                let (branch, sum_norm) = self.sum(layer_idx, weights.post_attention_norm.as_ref());
                (Some(branch), sum_norm)
            }
            // The feed-forward block adds to what attention left.
            Residual::ParallelNorms => (None, None),
            Residual::Parallel => return Ok(()),
        };
        self.add_and_norm(sum, Some((weights.ffn_norm.as_ref(), self.ffn_inputs(&weights.ffn)?)))
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
        let (branch, sum_norm) = self.sum(layer_idx, post_norm);
        let sum_scale = weights.output_scale.as_ref().map(Weight::vector);
        let inputs = match self.forward.model.weights.layers.get(layer_idx + 1) {
            Some(next) => Some((next.attn_norm.as_ref(), self.layer_inputs(layer_idx + 1)?)),
            None => None,
        };
        self.add_and_norm((Some(Branch { sum_scale, ..branch }), sum_norm), inputs)
    }

    /// What a block adds to the residual stream, with the norm that stands behind it: of the output, or of the sum.
    fn sum<'a>(
        &self,
        layer_idx: usize,
        post_norm: Option<&'a NormWeights<Weight>>,
    ) -> (Branch, Option<&'a NormWeights<Weight>>) {
        match self.spec(layer_idx).residual {
            Residual::NormedSum => (self.added(None), post_norm),
            _ => (self.added(post_norm), None),
        }
    }

    /// Adds a branch, norms the residual stream itself where that is wanted, and makes normed inputs of it.
    fn add_and_norm(
        &self,
        (branch, sum_norm): (Option<Branch>, Option<&NormWeights<Weight>>),
        inputs: Option<(Option<&NormWeights<Weight>>, ActOut)>,
    ) -> Result<(), CudaError> {
        self.stage(Stage::Norm, |f| {
            let run = |branch, norm| f.ops.norm.run(&f.device, &self.norm_call(branch, norm));
            let inputs = inputs.map(|(norm, act)| (self.norm(norm), act));
            let Some(sum_norm) = sum_norm.map(|weights| self.norm(Some(weights))) else {
                return run(branch, inputs.map(|(norm, act)| (norm, act.into())));
            };
            match inputs {
                Some((norm, act)) if !matches!(norm, Norm::None) => {
                    run(branch, Some((sum_norm, self.in_place(None))))?;
                    run(None, Some((norm, act.into())))
                }
                inputs => run(branch, Some((sum_norm, self.in_place(inputs.map(|(_, act)| act))))),
            }
        })
    }

    /// Normed rows replace the residual stream.
    fn in_place(&self, act: Option<ActOut>) -> Normed {
        let f = self.forward;
        Normed { act, rows: Some(f.buffers.hidden.rows(self.shape.tokens, f.model.spec.hidden_size)) }
    }

    /// The norm behind the last layer, in place; `None` where there is none.
    pub(super) fn last_norm(&self) -> Option<NormCall> {
        let weights = self.forward.model.weights.output_norm.as_ref()?;
        Some(self.norm_call(None, Some((self.norm(Some(weights)), self.in_place(None)))))
    }

    /// The norm of the rows whose logits are wanted.
    pub(super) fn output_norm(&self, out: ActOut) -> NormCall {
        let f = self.forward;
        let picked = f.array(&f.layout.logit_tokens, self.shape.rows);
        let norm = self.norm(f.model.weights.output_norm.as_ref());
        NormCall { rows: Rows::Picked(picked), ..self.norm_call(None, Some((norm, out.into()))) }
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
            FfnWeights::GatedAndMoe(both) => self.hidden_inputs(&[&both.gated.gate, &both.gated.up]),
        }
    }

    pub(super) fn added(&self, norm: Option<&NormWeights<Weight>>) -> Branch {
        let scale = self.forward.model.spec.residual_scale;
        Branch { values: self.branch(), weight: norm.map(|norm| norm.weight.vector()), scale, sum_scale: None }
    }

    pub(super) fn norm(&self, weights: Option<&NormWeights<Weight>>) -> Norm {
        let Some(NormWeights { weight, bias }) = weights else { return Norm::None };
        match self.forward.model.spec.norm {
            NormKind::Rms => Norm::Rms { weight: weight.vector() },
            NormKind::Layer | NormKind::LayerWithBias => {
                Norm::Layer { weight: Some(weight.vector()), bias: bias.as_ref().map(Weight::vector) }
            }
        }
    }

    pub(super) fn norm_call(&self, branch: Option<Branch>, norm: Option<(Norm, Normed)>) -> NormCall {
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
