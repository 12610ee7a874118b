//! Which layers see a window.

use crate::{DecoderSpec, LayerSpec, Mask, ModelError, keys::Keys};

/// Whether each layer sees a window only: as the file says, else all but every `full_every`th layer do, and all where that
/// is 0.
pub(super) fn sliding_layers(keys: &Keys<'_>, num_layers: usize, full_every: usize) -> Result<Vec<bool>, ModelError> {
    if let Some(layers) = keys.flags("attention.sliding_window_pattern", num_layers)? {
        return Ok(layers);
    }
    let full_every = match keys.uint("attention.sliding_window_pattern")? {
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX),
        None => full_every,
    };
    Ok((0..num_layers).map(|idx| full_every == 0 || (idx + 1) % full_every != 0).collect())
}

/// Gives some layers a window. Returns the layers that have one, for what else differs in them.
pub(super) fn slide<'a>(
    spec: &'a mut DecoderSpec,
    layers: &'a [bool],
    mask: Mask,
) -> impl Iterator<Item = &'a mut LayerSpec> {
    for (layer, _) in spec.layers.iter_mut().zip(layers).filter(|(_, slides)| **slides) {
        layer.attention.mask = mask;
    }
    spec.layers.iter_mut().zip(layers).filter(|(_, slides)| **slides).map(|(layer, _)| layer)
}

/// The window, where the file says that there is one.
pub(super) fn window(keys: &Keys<'_>) -> Result<Option<usize>, ModelError> {
    match keys.uint("attention.sliding_window")? {
        None | Some(0) => Ok(None),
        Some(n) => Ok(Some(usize::try_from(n).unwrap_or(usize::MAX))),
    }
}
