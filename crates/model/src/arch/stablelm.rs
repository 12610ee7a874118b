//! `stablelm`: layer norms, a part of each head rotated. The 12B model norms query and key heads and joins both blocks to
//! the stream at once, the others do neither; the tensors tell.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, Norm, QkNorm, Residual, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let mut attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    if gguf.tensor("blk.0.attn_q_norm.weight").is_some() {
        attention.qk_norm = QkNorm::PerHeadOwn;
    }
    let ffn = base::gated(keys, Activation::Silu)?;
    let mut spec = base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))?;
    let is_parallel = match keys.bool("use_parallel_residual")? {
        Some(is_parallel) => is_parallel,
        None => gguf.tensor("blk.0.ffn_norm.weight").is_none(),
    };
    if is_parallel {
        spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::Parallel);
    }
    Ok(spec)
}
