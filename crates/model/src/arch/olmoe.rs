//! `olmoe`: experts whose probabilities are their weights; all query heads are normed as one, and all key heads.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_size, experts},
};
use crate::{DecoderSpec, Ffn, ModelError, Moe, QkNorm, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let normalize = keys.bool("expert_weights_norm")?.unwrap_or(false);
    // Older files have the experts' width as the dense one.
    let size = match keys.size("expert_feed_forward_length", base::MAX_SIZE)? {
        Some(_) => expert_size(keys)?,
        None => keys.require_size("feed_forward_length", base::MAX_SIZE)?,
    };
    let moe = Moe { normalize, ..experts(keys, size)? };
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, Ffn::Moe(moe))?;
    spec.layers.iter_mut().for_each(|layer| layer.attention.qk_norm = QkNorm::AllHeads);
    Ok(spec)
}
