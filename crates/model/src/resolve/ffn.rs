//! The tensors of feed-forward blocks.

use gguf::TensorInfo;

use super::{Finder, flat};
use crate::{
    ExpertLinear, Ffn, FfnWeights, GatedWeights, ModelError, Moe, MoeWeights, PlainWeights, SharedExpert, SharedWeight,
    Stacked,
};

impl Finder<'_> {
    pub(super) fn ffn(&mut self, idx: usize, spec: &Ffn) -> Result<FfnWeights<TensorInfo>, ModelError> {
        let hidden = self.spec.hidden_size;
        match spec {
            Ffn::Gated { size, .. } => Ok(FfnWeights::Gated(self.gated(idx, "", *size)?)),
            Ffn::Plain { size, .. } => Ok(FfnWeights::Plain(PlainWeights {
                up: self.linear(&format!("blk.{idx}.ffn_up"), *size, hidden)?,
                down: self.linear(&format!("blk.{idx}.ffn_down"), hidden, *size)?,
            })),
            Ffn::Moe(moe) => Ok(FfnWeights::Moe(Box::new(self.moe(idx, moe)?))),
        }
    }

    /// The matrices `ffn_gate{suffix}`, `ffn_up{suffix}` and `ffn_down{suffix}` of a layer; without a gate, `ffn_up` has
    /// its rows before its own, so that it is twice as tall.
    fn gated(&mut self, idx: usize, suffix: &str, size: usize) -> Result<GatedWeights<TensorInfo>, ModelError> {
        let hidden = self.spec.hidden_size;
        let [gate, up, down] = ["gate", "up", "down"].map(|part| format!("blk.{idx}.ffn_{part}{suffix}"));
        let rows_of_up = self.gguf.tensor(&format!("{up}.weight")).and_then(|tensor| tensor.shape.get(1).copied());
        let is_fused = !self.has(&format!("{gate}.weight")) && rows_of_up.is_some_and(|rows| rows != size);
        let [gate, up] = if is_fused {
            self.fused(&up, [size, size], hidden)?
        } else {
            [self.linear(&gate, size, hidden)?, self.linear(&up, size, hidden)?]
        };
        Ok(GatedWeights { gate, up, down: self.linear(&down, hidden, size)? })
    }

    fn moe(&mut self, idx: usize, spec: &Moe) -> Result<MoeWeights<TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{suffix}");
        let (hidden, Moe { num_experts, size, .. }) = (self.spec.hidden_size, *spec);
        let shared = match spec.shared {
            Some(shared) => {
                let has_router = shared.weight == SharedWeight::Sigmoid;
                Some(SharedExpert {
                    router: self.when(has_router, &name("ffn_gate_inp_shexp.weight"), &[hidden])?,
                    expert: self.gated(idx, "_shexp", shared.size)?,
                })
            }
            None => None,
        };
        Ok(MoeWeights {
            router: self.linear(&name("ffn_gate_inp"), num_experts, hidden)?,
            selection_bias: self.optional(&name("exp_probs_b.bias"), &[num_experts])?,
            gate: self.experts(idx, "ffn_gate", [hidden, size, num_experts])?,
            up: self.experts(idx, "ffn_up", [hidden, size, num_experts])?,
            down: self.experts(idx, "ffn_down", [size, hidden, num_experts])?,
            shared,
        })
    }

    /// A matrix of each expert: one tensor, or, in older files, one each.
    fn experts(
        &mut self,
        idx: usize,
        part: &str,
        [columns, rows, num_experts]: [usize; 3],
    ) -> Result<ExpertLinear<TensorInfo>, ModelError> {
        let name = |suffix: &str| format!("blk.{idx}.{part}{suffix}");
        let weight = if self.has(&name(".0.weight")) {
            let experts = (0..num_experts).map(|e| self.require(&name(&format!(".{e}.weight")), &[columns, rows]));
            Stacked::Each(experts.collect::<Result<_, _>>()?)
        } else {
            Stacked::One(self.require(&name("_exps.weight"), &[columns, rows, num_experts])?)
        };
        let bias = self.optional(&name("_exps.bias"), &[rows, num_experts])?;
        Ok(ExpertLinear { weight, bias: bias.map(flat) })
    }
}
