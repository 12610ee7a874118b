//! `smollm3`: Llama without positions in every fourth layer.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, Rope, RopeStyle, keys::Keys};

/// The last of so many layers has no rotation.
const STEP: usize = 4;

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = base::spec(keys, gguf, RopeStyle::Norm)?;
    spec.layers.iter_mut().skip(STEP - 1).step_by(STEP).for_each(|layer| layer.attention.rope = Rope::none());
    Ok(spec)
}
