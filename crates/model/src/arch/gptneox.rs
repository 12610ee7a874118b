//! `gptneox`: Pythia and GPT-NeoX; layer norms, biases everywhere, a part of each head rotated, both blocks beside each other.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, Norm, Residual, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    let ffn = base::plain(keys, Activation::Gelu)?;
    let mut spec = base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))?;
    if keys.bool("use_parallel_residual")?.unwrap_or(true) {
        spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::ParallelNorms);
    }
    Ok(spec)
}
