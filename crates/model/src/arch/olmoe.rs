//! `olmoe`: experts whose probabilities are their weights; all query heads are normed as one, and all key heads.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_or_dense_size, experts},
};
use crate::{DecoderSpec, Ffn, ModelError, Moe, QkNorm, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let normalize = keys.bool("expert_weights_norm")?.unwrap_or(false);
    let moe = Moe { normalize, ..experts(keys, expert_or_dense_size(keys)?)? };
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, Ffn::Moe(moe))?;
    spec.layers.iter_mut().for_each(|layer| layer.attention.qk_norm = QkNorm::AllHeads);
    Ok(spec)
}
