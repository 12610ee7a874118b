//! What the kernels do not compute yet, in one place: a model that needs it is refused before anything is loaded.

use gguf::TensorInfo;
use model::{
    Activation, Attention, DecoderSpec, DecoderWeights, ExpertLinear, Ffn, FfnWeights, Mask, Moe, Norm, QkNorm,
    Residual, Scoring, SharedWeight, Stacked, Weighted,
};

use crate::error::CudaError;

/// Looks for what the kernels lack in what the metadata says.
///
/// # Errors
/// [`CudaError::Unsupported`] naming the first such feature.
pub(crate) fn check(spec: &DecoderSpec) -> Result<(), CudaError> {
    refuse(
        spec,
        [
            (spec.norm != Norm::Rms, "layer norms"),
            (spec.learned_positions.is_some(), "learned positions"),
            (spec.residual_scale != 1.0, "a scale of the residual stream"),
            (spec.logit_scale != 1.0, "a scale of logits"),
        ],
    )?;
    for layer in &spec.layers {
        check_attention(spec, &layer.attention)?;
        let moe = match layer.ffn {
            Ffn::Moe(moe) => moe,
            _ => Moe::plain((1, 1), 1),
        };
        let (Ffn::Gated { activation, .. } | Ffn::Plain { activation, .. } | Ffn::Moe(Moe { activation, .. })) =
            layer.ffn;
        refuse(
            spec,
            [
                (!matches!(layer.residual, Residual::PreNorm | Residual::SandwichNorm), "post-norm or parallel blocks"),
                (matches!(layer.ffn, Ffn::Plain { .. }), "feed-forward blocks without a gate"),
                (!matches!(activation, Activation::Silu | Activation::GeluTanh), "this activation"),
                (moe.scoring != Scoring::Softmax, "experts scored by a sigmoid"),
                (moe.groups.is_some(), "groups of experts"),
                (moe.weight_scale != 1.0, "a scale of experts' weights"),
                (moe.weighted != Weighted::Output, "experts with weighted inputs"),
                (moe.shared.is_some_and(|s| s.weight != SharedWeight::Sigmoid), "a shared expert without a router"),
            ],
        )?;
    }
    Ok(())
}

fn check_attention(spec: &DecoderSpec, attention: &Attention) -> Result<(), CudaError> {
    refuse(
        spec,
        [
            (attention.latent.is_some(), "latent attention"),
            (matches!(attention.mask, Mask::Chunked { .. }), "chunked attention"),
            (attention.rope.magnitude != 1.0, "a rotation that scales"),
            (attention.temperature.is_some(), "attention temperatures"),
            (!matches!(attention.qk_norm, QkNorm::None | QkNorm::PerHead), "this norm of queries and keys"),
            (attention.sinks, "attention sinks"),
        ],
    )
}

/// Looks for what the kernels lack in the tensors that the file has.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_weights(spec: &DecoderSpec, weights: &DecoderWeights<TensorInfo>) -> Result<(), CudaError> {
    let unusual =
        |experts: &ExpertLinear<TensorInfo>| experts.bias.is_some() || matches!(experts.weight, Stacked::Each(_));
    for layer in &weights.layers {
        let FfnWeights::Moe(moe) = &layer.ffn else { continue };
        refuse(
            spec,
            [
                (moe.router.bias.is_some(), "a bias of the experts' router"),
                (moe.selection_bias.is_some(), "a selection bias of experts"),
                (
                    [&moe.gate, &moe.up, &moe.down].into_iter().any(unusual),
                    "experts with biases, or with a tensor each",
                ),
            ],
        )?;
    }
    Ok(())
}

fn refuse<const N: usize>(spec: &DecoderSpec, features: [(bool, &str); N]) -> Result<(), CudaError> {
    match features.into_iter().find(|(found, _)| *found) {
        None => Ok(()),
        Some((_, feature)) => {
            let arch = spec.arch;
            Err(CudaError::Unsupported(format!(
                "the GPU does not compute {feature} of `{arch}` models yet; use `--device cpu`"
            )))
        }
    }
}
