//! Numbers that products are multiplied by: into the matrices, or into the norms of their inputs.

use model::{
    AttentionWeights, DecoderSpec, DecoderWeights, ExpertLinear, FfnWeights, GatedWeights, Linear, MoeWeights, Stacked,
};

use crate::{device::Device, error::CudaError, ops::matmul::Scale};

use super::Weight;

/// Puts the scales of whole matrices, which some files have beside them, into the matrices.
pub(super) fn of_matrices(device: &Device, weights: &mut DecoderWeights<Weight>) -> Result<(), CudaError> {
    let set = Setter { device };
    for layer in &mut weights.layers {
        match &mut layer.attention {
            AttentionWeights::Heads(heads) => set.all([&mut heads.q, &mut heads.k, &mut heads.v])?,
            AttentionWeights::Queries(queries) => set.linear(&mut queries.q)?,
            // No file has any.
            AttentionWeights::Latent(_) => {}
        }
        set.linear(&mut layer.attn_output)?;
        match &mut layer.ffn {
            FfnWeights::Gated(ffn) => set.gated(ffn)?,
            FfnWeights::Plain(ffn) => set.all([&mut ffn.up, &mut ffn.down])?,
            FfnWeights::Moe(moe) => set.moe(moe)?,
            FfnWeights::GatedAndMoe(both) => {
                set.gated(&mut both.gated)?;
                set.moe(&mut both.moe)?;
            }
        }
        if let Some(block) = &mut layer.per_layer_block {
            set.all([&mut block.gate, &mut block.proj])?;
        }
    }
    let output = weights.output.as_mut().unwrap_or(&mut weights.token_embd);
    set.matrix(output, weights.output_scale.as_ref())
}

/// Puts the scale of the logits into the norm before them, and that of routers beside a gated block into theirs: the
/// matrices are linear.
pub(super) fn of_inputs(
    device: &Device,
    spec: &DecoderSpec,
    weights: &DecoderWeights<Weight>,
) -> Result<(), CudaError> {
    if let Some(norm) = weights.output_norm.as_ref().filter(|_| spec.logit_scale != 1.0) {
        for vector in [Some(&norm.weight), norm.bias.as_ref()].into_iter().flatten() {
            multiply(device, vector, spec.logit_scale)?;
        }
    }
    for layer in &weights.layers {
        if let FfnWeights::GatedAndMoe(both) = &layer.ffn {
            multiply(device, &both.router_norm, 1.0 / (spec.hidden_size as f32).sqrt())?;
        }
    }
    Ok(())
}

fn multiply(device: &Device, vector: &Weight, factor: f32) -> Result<(), CudaError> {
    let mut values = device.download(vector.vector())?;
    values.iter_mut().for_each(|value| *value *= factor);
    device.upload(vector.vector(), &values)
}

struct Setter<'a> {
    device: &'a Device,
}

impl Setter<'_> {
    fn gated(&self, ffn: &mut GatedWeights<Weight>) -> Result<(), CudaError> {
        self.all([&mut ffn.gate, &mut ffn.up, &mut ffn.down])
    }

    fn moe(&self, moe: &mut MoeWeights<Weight>) -> Result<(), CudaError> {
        self.linear(&mut moe.router)?;
        for ExpertLinear { weight, scale, .. } in [&mut moe.gate, &mut moe.up, &mut moe.down] {
            // Stacks were joined when they were loaded.
            if let (Stacked::One(stack), Some(scales)) = (weight, scale) {
                stack.matrix_mut().set_scale(Scale::Each(scales.vector()));
            }
        }
        moe.shared.as_mut().map_or(Ok(()), |shared| self.gated(&mut shared.expert))
    }

    fn all<const N: usize>(&self, linears: [&mut Linear<Weight>; N]) -> Result<(), CudaError> {
        linears.into_iter().try_for_each(|linear| self.linear(linear))
    }

    fn linear(&self, linear: &mut Linear<Weight>) -> Result<(), CudaError> {
        self.matrix(&mut linear.weight, linear.scale.as_ref())
    }

    fn matrix(&self, weight: &mut Weight, scale: Option<&Weight>) -> Result<(), CudaError> {
        let Some(scale) = scale else { return Ok(()) };
        let scale = self.device.download(scale.vector())?[0];
        weight.matrix_mut().set_scale(Scale::Whole(scale));
        Ok(())
    }
}
