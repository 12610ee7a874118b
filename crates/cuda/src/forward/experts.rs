//! The feed-forward stages of a mixture of experts.

use model::{DecoderSpec, ExpertLinear, Ffn, GatedAndMoeWeights, Moe, MoeWeights, SharedExpert, Stacked, Weighted};

use crate::{
    Device,
    buffers::{Act, Floats},
    device::{Buffer, Span},
    error::CudaError,
    gpu::Gpu,
    ops::{
        act_out::ActOut,
        gated_act::{GatedActCall, Inner},
        matmul::{ActivationKind, Matrix},
        moe::{
            ExpertMatmul, ExpertMatmulCall, ExpertSum, ExpertSumCall, Grouping, MAX_EXPERTS, MAX_PAIRS, MAX_USED,
            Route, RouteCall, Routes, SharedOut, max_tiles,
        },
        norm::{Branch, Norm, NormCall, Normed},
    },
    stage::Stage,
    weights::Weight,
};

use super::{Step, ffn::FfnOut, segment};

/// Sizes of the widest layer with experts and the largest step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpertSizes {
    tokens: usize,
    pairs: usize,
    num_experts: usize,
    size: usize,
    hidden: usize,
    /// Whether all tokens pass an expert, or a gated block, beside those that they choose.
    beside: bool,
}

impl ExpertSizes {
    /// Of a model; `None` without experts.
    ///
    /// # Errors
    /// [`CudaError::Unsupported`] when a step has more pairs of tokens and experts than the kernels take.
    pub(crate) fn new(spec: &DecoderSpec, tokens: usize) -> Result<Option<Self>, CudaError> {
        let mut sizes = Self { tokens, hidden: spec.hidden_size, ..Self::default() };
        for layer in &spec.layers {
            let Some(&Moe { num_experts, num_used, size, shared, .. }) = layer.ffn.moe() else { continue };
            if num_experts > MAX_EXPERTS || num_used > MAX_USED {
                return Err(CudaError::Unsupported(format!(
                    "{num_used} of {num_experts} experts a token; the GPU takes {MAX_USED} of {MAX_EXPERTS} at most"
                )));
            }
            if tokens * num_used > MAX_PAIRS {
                let most = MAX_PAIRS / num_used;
                return Err(CudaError::Unsupported(format!(
                    "{tokens} tokens a step; the GPU takes {most} of this model at most: lower --batch-size"
                )));
            }
            sizes.pairs = sizes.pairs.max(tokens * num_used);
            sizes.num_experts = sizes.num_experts.max(num_experts);
            sizes.size = sizes.size.max(size);
            sizes.beside |= shared.is_some() || matches!(layer.ffn, Ffn::GatedAndMoe { .. });
        }
        Ok((sizes.pairs > 0).then_some(sizes))
    }

    fn beside_floats(&self) -> usize {
        if self.beside { self.tokens * self.hidden } else { 0 }
    }

    /// Three words a pair and four a tile.
    fn route_words(&self) -> usize {
        3 * self.pairs.next_multiple_of(4) + 4 * max_tiles(self.pairs, self.num_experts)
    }

    /// Bytes of all buffers.
    pub(crate) fn num_bytes(&self) -> usize {
        let Self { tokens, pairs, num_experts, size, hidden, .. } = *self;
        let floats = tokens * num_experts + pairs * (2 * size + hidden) + self.beside_floats();
        4 * (floats + self.route_words()) + pairs * Act::row_bytes(size)
    }
}

/// The kernels and buffers of experts.
pub(super) struct Experts {
    route: Route,
    sum: ExpertSum,
    /// `[tokens, num_experts]`.
    logits: Floats,
    /// The planes of [`Routes`], one behind the other.
    routes: Buffer,
    /// The pairs that there is room for.
    pairs: usize,
    /// Gate and up side by side, `[pairs, 2 size]`.
    gate_up: Floats,
    /// The gated rows as inputs of the down matrices.
    act: Act,
    /// What the experts give, `[pairs, hidden]`.
    out: Floats,
    /// What all tokens get beside that, `[tokens, hidden]`.
    beside: Floats,
}

impl Experts {
    pub(super) fn new(gpu: &Gpu, sizes: &ExpertSizes) -> Result<Self, CudaError> {
        let ExpertSizes { tokens, pairs, num_experts, size, hidden, .. } = *sizes;
        let device: &Device = &gpu.device;
        Ok(Self {
            route: Route::new(gpu)?,
            sum: ExpertSum::new(gpu)?,
            logits: Floats::new(device, tokens * num_experts)?,
            routes: Buffer::new(device, 4 * sizes.route_words(), "routes to experts")?,
            pairs: pairs.next_multiple_of(4),
            gate_up: Floats::new(device, pairs * 2 * size)?,
            act: Act::new(device, pairs, size)?,
            out: Floats::new(device, pairs * hidden)?,
            beside: Floats::new(device, sizes.beside_floats())?,
        })
    }

    fn routes(&self, grouping: Grouping) -> Routes {
        let pairs = self.pairs;
        let words: Span<u32> = self.routes.all();
        Routes {
            experts: words.slice(0..pairs),
            weights: words.slice(pairs..2 * pairs).cast(),
            order: words.slice(2 * pairs..3 * pairs),
            tiles: words.slice(3 * pairs..words.len()),
            grouping,
        }
    }
}

impl Step<'_> {
    /// What the norm before experts leaves: f16 for the router, int8 too for quantized experts.
    pub(super) fn expert_inputs(&self) -> Result<ActOut, CudaError> {
        let f = self.forward;
        f.buffers.act_hidden.both(self.shape.tokens, f.model.spec.hidden_size)
    }

    /// All stages between the norm and the addition to the residual stream; the output lies in `branch`.
    pub(super) fn experts(&self, spec: &Moe, weights: &MoeWeights<Weight>) -> Result<(), CudaError> {
        self.route(spec, weights)?;
        self.chosen_experts(spec, weights)
    }

    /// The sum of a gated block and of experts, which both read the residual stream, each normed; the output lies in
    /// `branch`. The inputs of the gated block are there already.
    pub(super) fn gated_and_experts(
        &self,
        (size, moe): (usize, &Moe),
        weights: &GatedAndMoeWeights<Weight>,
    ) -> Result<(), CudaError> {
        let gated = self.expert_buffers().beside.rows(self.shape.tokens, self.forward.model.spec.hidden_size);
        self.gated(&weights.gated, (size, moe.activation), FfnOut { rows: gated, residual: None })?;
        let router = Norm::Rms { weight: weights.router_norm.vector() };
        self.stage(Stage::Norm, |f| {
            f.ops.norm.run(&f.device, &self.norm_call(None, Some((router, self.router_inputs()?.into()))))
        })?;
        self.route(moe, &weights.moe)?;
        self.stage(Stage::Norm, |f| {
            let norm = self.norm(Some(&weights.experts_input_norm));
            f.ops.norm.run(&f.device, &self.norm_call(None, Some((norm, self.expert_inputs()?.into()))))
        })?;
        self.chosen_experts(moe, &weights.moe)?;
        self.stage(Stage::Norm, |f| {
            let (x, norm) = (self.branch(), self.norm(Some(&weights.experts_norm)));
            let in_place = Normed { act: None, rows: Some(x) };
            f.ops.norm.run(&f.device, &NormCall { x, ..self.norm_call(None, Some((norm, in_place))) })?;
            let weight = Some(weights.gated_norm.weight.vector());
            let branch = Branch { values: gated, weight, scale: 1.0, sum_scale: None };
            f.ops.norm.run(&f.device, &NormCall { x, ..self.norm_call(Some(branch), None) })
        })
    }

    /// What the router reads: f16 of the normed hidden states.
    fn router_inputs(&self) -> Result<ActOut, CudaError> {
        let f = self.forward;
        f.buffers.act_hidden.out(ActivationKind::Half, self.shape.tokens, f.model.spec.hidden_size)
    }

    fn expert_buffers(&self) -> &Experts {
        self.forward.experts.as_ref().expect("models with experts have their buffers")
    }

    /// Where the pairs of this step are listed.
    fn routes(&self, spec: &Moe) -> Routes {
        let each = (spec.num_used, spec.num_experts);
        self.expert_buffers().routes(self.forward.grouping(self.shape.tokens, each))
    }

    /// Chooses the experts of each token.
    fn route(&self, spec: &Moe, weights: &MoeWeights<Weight>) -> Result<(), CudaError> {
        let (experts, tokens, routes) = (self.expert_buffers(), self.shape.tokens, self.routes(spec));
        let halves = self.router_inputs()?;
        self.stage(Stage::Router, |f| {
            let logits = experts.logits.rows(tokens, spec.num_experts);
            self.matmul(halves, &[segment(&weights.router, logits, spec.num_experts)])?;
            let slots = Some(f.array(&f.layout.slot_mappings[0], tokens));
            let bias = weights.selection_bias.as_ref().map(Weight::vector);
            experts.route.run(&f.device, &RouteCall { logits, tokens, slots, spec, bias, routes })
        })
    }

    /// What the chosen experts give, and the one that all tokens pass where there is one; the output lies in `branch`.
    fn chosen_experts(&self, spec: &Moe, weights: &MoeWeights<Weight>) -> Result<(), CudaError> {
        let (f, tokens) = (self.forward, self.shape.tokens);
        let (hidden, pairs) = (f.model.spec.hidden_size, tokens * spec.num_used);
        let (experts, routes) = (self.expert_buffers(), self.routes(spec));
        let [gate, up, down] = [&weights.gate, &weights.up, &weights.down].map(stacked);
        let [gate_bias, up_bias, down_bias] = [&weights.gate, &weights.up, &weights.down].map(bias);
        let gated = experts.act.out(ExpertMatmul::activation_kind(down, routes.grouping), pairs, spec.size)?;
        let gate_up = experts.gate_up.rows(pairs, 2 * spec.size);
        let out = experts.out.rows(pairs, hidden);
        let call = ExpertMatmulCall {
            act: self.expert_inputs()?,
            pairs_per_input: spec.num_used,
            pairs,
            matrices: &[gate, up],
            rows: spec.size,
            biases: [gate_bias, up_bias],
            // The products are linear: weighted inputs are weighted products.
            weighted: spec.weighted == Weighted::Input,
            num_experts: spec.num_experts,
            routes,
            out: gate_up,
        };
        self.stage(Stage::GateUp, |f| f.multiply_experts(&call))?;
        self.stage(Stage::GatedAct, |f| {
            let (inner, rows, cols, activation) = (Inner::GateUp, pairs, spec.size, spec.activation);
            f.ops.gated_act.run(&f.device, &GatedActCall { gate_up, inner, rows, cols, activation, out: gated })
        })?;
        let (matrices, biases) = ([down], [down_bias, None]);
        let call = ExpertMatmulCall {
            act: gated,
            rows: hidden,
            pairs_per_input: 1,
            matrices: &matrices,
            biases,
            weighted: false,
            out,
            ..call
        };
        self.stage(Stage::FfnDown, |f| f.multiply_experts(&call))?;
        let shared = match (&weights.shared, spec.shared) {
            (Some(SharedExpert { router, expert }), Some(shared)) => {
                let rows = experts.beside.rows(tokens, hidden);
                self.gated(expert, (shared.size, spec.activation), FfnOut { rows, residual: None })?;
                Some(SharedOut { rows, router: router.as_ref().map(Weight::vector), x: self.router_inputs()? })
            }
            _ => None,
        };
        self.stage(Stage::ExpertSum, |f| {
            let call = ExpertSumCall {
                rows: out,
                weights: routes.weights,
                weighted: spec.weighted == Weighted::Output,
                num_used: spec.num_used,
                tokens,
                cols: hidden,
                shared,
                out: self.branch(),
            };
            experts.sum.run(&f.device, &call)
        })
    }
}

/// The matrices of all experts, one behind the other.
pub(crate) fn stacked(linear: &ExpertLinear<Weight>) -> &Matrix {
    match &linear.weight {
        Stacked::One(weight) => weight.matrix(),
        Stacked::Each(_) => unreachable!("stacks are joined when a model is loaded"),
    }
}

fn bias(linear: &ExpertLinear<Weight>) -> Option<Span<f32>> {
    linear.bias.as_ref().map(Weight::vector)
}
