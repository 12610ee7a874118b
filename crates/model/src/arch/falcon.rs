//! `falcon`: both blocks read the stream before the layer; layer norms, no biases of matrices, GELU without a gate. 40B has
//! a norm for each block.

use gguf::Gguf;

use super::base;
use crate::{Activation, DecoderSpec, ModelError, Names, Norm, Residual, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    let ffn = base::plain(keys, Activation::Gelu)?;
    let mut spec = base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))?;
    let has_two_norms = gguf.tensor("blk.0.attn_norm_2.weight").is_some();
    if has_two_norms {
        spec.names = Names { attn_norm: "attn_norm_2", ffn_norm: "attn_norm", ..Names::default() };
    }
    let residual = if has_two_norms { Residual::ParallelNorms } else { Residual::Parallel };
    spec.layers.iter_mut().for_each(|layer| layer.residual = residual);
    Ok(spec)
}
