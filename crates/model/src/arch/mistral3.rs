//! `mistral3`: Ministral 3; Mistral whose queries grow beyond the original context, with experts where the file names them.

use gguf::Gguf;

use super::{base, llama};
use crate::{DecoderSpec, ModelError, Temperature, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut spec = llama::spec(keys, gguf)?;
    let Some(scale) = keys.positive("attention.temperature_scale")? else { return Ok(spec) };
    let floor = match keys.size("attention.temperature_length", usize::MAX)? {
        Some(floor) => floor,
        None => match keys.size("rope.scaling.original_context_length", usize::MAX)? {
            Some(floor) => floor,
            None => base::context_length(keys)?,
        },
    };
    for layer in &mut spec.layers {
        layer.attention.temperature = Some(Temperature { scale, floor, offset: 0 });
    }
    Ok(spec)
}
