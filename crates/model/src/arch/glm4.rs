//! `glm4`: norms before and behind the blocks, neighbours of a part of each head rotated, gate and up in one tensor.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, Residual, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = base::spec(keys, gguf, RopeStyle::Norm)?;
    spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::SandwichNorm);
    Ok(spec)
}
