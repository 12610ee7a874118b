//! What the kernels do not compute, in one place: a model that needs it is refused before anything is loaded.

use model::{Activation, DecoderSpec, Ffn, LayerSpec, Norm, QkNorm, Residual, Values};

use crate::error::CudaError;

/// Looks for what the kernels lack in what the metadata says.
///
/// # Errors
/// [`CudaError::Unsupported`] naming the first such feature.
pub(crate) fn check(spec: &DecoderSpec) -> Result<(), CudaError> {
    match missing_feature(spec) {
        None => Ok(()),
        Some(feature) => {
            let arch = spec.arch;
            Err(CudaError::Unsupported(format!(
                "the GPU does not compute {feature} of `{arch}` models; use `--device cpu`"
            )))
        }
    }
}

/// The first feature of a model that no kernel computes.
#[must_use]
pub fn missing_feature(spec: &DecoderSpec) -> Option<&'static str> {
    spec.layers.iter().find_map(|layer| missing(spec.norm, layer))
}

fn missing(norm: Norm, layer: &LayerSpec) -> Option<&'static str> {
    let LayerSpec { attention, ffn, residual } = layer;
    let has_layer_norms = norm != Norm::Rms;
    let features = [
        (
            has_layer_norms && matches!(residual, Residual::SandwichNorm | Residual::PostNorm),
            "layer norms of the blocks' outputs",
        ),
        (has_layer_norms && attention.qk_norm == QkNorm::AllHeads, "layer norms of all heads as one vector"),
        (residual.is_parallel() && matches!(ffn, Ffn::Moe(_)), "experts beside attention"),
        (matches!(ffn, Ffn::Plain { activation: Activation::ClampedSwiglu, .. }), "a clamped SwiGLU without a gate"),
        (
            attention.latent.is_some() && (attention.kv_source.is_some() || attention.values != Values::Plain),
            "latent attention with normed values or those of an earlier layer",
        ),
        (
            attention.latent.is_some() && (attention.temperature.is_some() || attention.qk_norm != QkNorm::None),
            "latent attention with norms of heads or a temperature",
        ),
    ];
    features.into_iter().find_map(|(found, feature)| found.then_some(feature))
}

#[cfg(test)]
mod tests {
    use model::{Activation, Attention, Ffn, LayerSpec, Moe, Norm, QkNorm, Residual, Rope};

    use super::missing;

    #[test]
    fn what_no_kernel_computes_is_named() {
        let attention = Attention::plain(4, 2, 64, Rope::none());
        let ffn = Ffn::Plain { size: 64, activation: Activation::Gelu };
        let layer = LayerSpec { attention, ffn, residual: Residual::Parallel };
        assert_eq!(missing(Norm::LayerWithBias, &layer), None);
        let experts = LayerSpec { ffn: Ffn::Moe(Moe::plain((2, 4), 64)), ..layer.clone() };
        assert_eq!(missing(Norm::Rms, &experts), Some("experts beside attention"));
        let mut heads = LayerSpec { residual: Residual::PostNorm, ..layer };
        heads.attention.qk_norm = QkNorm::AllHeads;
        assert_eq!(missing(Norm::Rms, &heads), None);
        assert_eq!(missing(Norm::Layer, &heads), Some("layer norms of the blocks' outputs"));
        heads.attention.qk_norm = QkNorm::None;
        heads.residual = Residual::NormedSum;
        assert_eq!(missing(Norm::LayerWithBias, &heads), None);
        let moe = Moe::plain((2, 4), 64);
        let both = LayerSpec { ffn: Ffn::GatedAndMoe { size: 64, moe }, residual: Residual::SandwichNorm, ..heads };
        assert_eq!(missing(Norm::Rms, &both), None);
    }
}
