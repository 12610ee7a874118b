//! `gemma-embedding`: Gemma 3 whose tokens see each other; in layers with windows half of the window before them, and half
//! behind.

use gguf::Gguf;

use super::gemma3;
use crate::{DecoderSpec, Mask, ModelError, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = gemma3::spec(keys, gguf)?;
    for layer in &mut spec.layers {
        layer.attention.mask = match layer.attention.mask.window() {
            Some(window) => Mask::Symmetric { reach: window / 2 },
            None => Mask::Bidirectional,
        };
    }
    Ok(spec)
}
