//! `phi3`: Phi 3, Phi 3.5, Phi 4 and Phi 4 mini; queries, keys and values in one tensor, gate and up in one tensor, rotary
//! factors for long contexts.

use gguf::Gguf;

use super::{base, window};
use crate::{DecoderSpec, Mask, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = base::spec(keys, gguf, RopeStyle::Neox)?;
    if let Some(window) = window::window(keys)? {
        spec.layers.iter_mut().for_each(|layer| layer.attention.mask = Mask::Sliding { window });
    }
    Ok(spec)
}
