//! The feed-forward stages that serve all tokens with the same matrices.

use model::{Activation, Ffn, FfnWeights, GatedWeights, Linear, PlainWeights};

use crate::{
    device::Span,
    error::CudaError,
    ops::{
        gated_act::{GatedActCall, Inner},
        matmul::Segment,
    },
    stage::Stage,
    weights::Weight,
};

use super::{Step, segment};

/// Where a block's output goes.
#[derive(Clone, Copy)]
pub(super) struct FfnOut {
    /// `[tokens, hidden]`.
    pub(super) rows: Span<f32>,
    /// What is added to it, likewise.
    pub(super) residual: Option<Span<f32>>,
}

impl Step<'_> {
    /// All stages between the norms; the output lies in `branch`.
    pub(super) fn ffn_block(&self, layer_idx: usize) -> Result<(), CudaError> {
        let out = FfnOut { rows: self.branch(), residual: self.ffn_residual(layer_idx) };
        match (&self.spec(layer_idx).ffn, &self.forward.model.weights.layers[layer_idx].ffn) {
            (Ffn::Gated { size, activation }, FfnWeights::Gated(ffn)) => self.gated(ffn, (*size, *activation), out),
            (Ffn::Plain { size, activation }, FfnWeights::Plain(ffn)) => self.plain(ffn, (*size, *activation), out),
            (Ffn::Moe(moe), FfnWeights::Moe(experts)) => self.experts(moe, experts),
            (Ffn::GatedAndMoe { size, moe }, FfnWeights::GatedAndMoe(both)) => {
                self.gated_and_experts((*size, moe), both)
            }
            _ => unreachable!("weights are resolved as the specification says"),
        }
    }

    /// `down(activation(gate(x)) * up(x))` of the normed hidden states.
    pub(super) fn gated(
        &self,
        ffn: &GatedWeights<Weight>,
        (size, activation): (usize, Activation),
        out: FfnOut,
    ) -> Result<(), CudaError> {
        let inputs = self.hidden_inputs(&[&ffn.gate, &ffn.up])?;
        self.stage(Stage::GateUp, |f| {
            let out = f.buffers.gate_up.rows(self.shape.tokens, 2 * size);
            let gate = segment(&ffn.gate, out, 2 * size);
            let up = segment(&ffn.up, out.slice(size..out.len()), 2 * size);
            self.matmul(inputs, &[gate, up])
        })?;
        self.activate_and_down((Inner::GateUp, activation), (&ffn.down, size), out)
    }

    /// `down(activation(up(x)))` of the normed hidden states.
    fn plain(
        &self,
        ffn: &PlainWeights<Weight>,
        (size, activation): (usize, Activation),
        out: FfnOut,
    ) -> Result<(), CudaError> {
        let inputs = self.hidden_inputs(&[&ffn.up])?;
        self.stage(Stage::GateUp, |f| {
            self.matmul(inputs, &[segment(&ffn.up, f.buffers.gate_up.rows(self.shape.tokens, size), size)])
        })?;
        self.activate_and_down((Inner::Up, activation), (&ffn.down, size), out)
    }

    fn activate_and_down(
        &self,
        (inner, activation): (Inner, Activation),
        (down, cols): (&Linear<Weight>, usize),
        out: FfnOut,
    ) -> Result<(), CudaError> {
        let (rows, hidden) = (self.shape.tokens, self.forward.model.spec.hidden_size);
        let activated = self.act(&self.forward.buffers.act_ffn, &[down], cols)?;
        self.stage(Stage::GatedAct, |f| {
            let gate_up = f.buffers.gate_up.all();
            let call = GatedActCall { gate_up, inner, rows, cols, activation, out: activated };
            f.ops.gated_act.run(&f.device, &call)
        })?;
        self.stage(Stage::FfnDown, |_| {
            let down = Segment { residual: out.residual, ..segment(down, out.rows, hidden) };
            self.matmul(activated, &[down])
        })
    }
}
