//! The tensors of feed-forward blocks.

use gguf::TensorInfo;

use super::{Finder, flat, slice};
use crate::{
    ExpertLinear, Ffn, FfnWeights, GatedAndMoeWeights, GatedWeights, Linear, ModelError, Moe, MoeWeights, PlainWeights,
    SharedExpert, SharedWeight, Stacked,
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
            Ffn::GatedAndMoe { size, moe } => {
                let name = |suffix: &str| format!("blk.{idx}.{suffix}");
                Ok(FfnWeights::GatedAndMoe(Box::new(GatedAndMoeWeights {
                    gated: self.gated(idx, "", *size)?,
                    gated_norm: self.norm(&name("post_ffw_norm_1"))?,
                    router_norm: self.require(&name("ffn_gate_inp.scale"), &[hidden])?,
                    experts_input_norm: self.norm(&name("pre_ffw_norm_2"))?,
                    moe: self.moe(idx, moe)?,
                    experts_norm: self.norm(&name("post_ffw_norm_2"))?,
                })))
            }
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
        let router = Linear {
            weight: self.require(&name("ffn_gate_inp.weight"), &[hidden, num_experts])?,
            scale: None,
            bias: self.optional(&name("ffn_gate_inp.bias"), &[num_experts])?,
        };
        let [gate, up] = self.expert_gates(idx, [hidden, size, num_experts])?;
        Ok(MoeWeights {
            router,
            selection_bias: self.optional(&name("exp_probs_b.bias"), &[num_experts])?,
            gate,
            up,
            down: self.experts(idx, "ffn_down", [size, hidden, num_experts])?,
            shared,
        })
    }

    /// The matrices gate and up of each expert; those of an expert may lie one behind the other.
    fn expert_gates(
        &mut self,
        idx: usize,
        [columns, rows, num_experts]: [usize; 3],
    ) -> Result<[ExpertLinear<TensorInfo>; 2], ModelError> {
        let name = format!("blk.{idx}.ffn_gate_up_exps");
        if !self.has(&format!("{name}.weight")) {
            let shape = [columns, rows, num_experts];
            return Ok([self.experts(idx, "ffn_gate", shape)?, self.experts(idx, "ffn_up", shape)?]);
        }
        let weight = self.require(&format!("{name}.weight"), &[columns, 2 * rows, num_experts])?;
        let scale = self.scale(&name, num_experts)?;
        let part = |part: usize| -> Result<_, ModelError> {
            let starts = (0..num_experts).map(|expert| (2 * expert + part) * rows);
            let each = starts.map(|start| slice(&weight, start..start + rows)).collect::<Result<_, _>>()?;
            Ok(ExpertLinear { weight: Stacked::Each(each), scale: scale.clone(), bias: None })
        };
        Ok([part(0)?, part(1)?])
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
        Ok(ExpertLinear { weight, scale: self.scale(&name("_exps"), num_experts)?, bias: bias.map(flat) })
    }
}
