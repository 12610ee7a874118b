//! `qwen2moe`: Qwen 1.5 and 2 with experts; their probabilities are their weights, and one more expert serves every
//! token.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_size, experts},
};
use crate::{DecoderSpec, Ffn, ModelError, Moe, RopeStyle, Shared, SharedWeight, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let size = match keys.size("expert_shared_feed_forward_length", base::MAX_SIZE)? {
        Some(size) => size,
        None => keys.require_size("feed_forward_length", base::MAX_SIZE)?,
    };
    let moe = Moe {
        normalize: keys.bool("expert_weights_norm")?.unwrap_or(false),
        shared: Some(Shared { size, weight: SharedWeight::Sigmoid }),
        ..experts(keys, expert_size(keys)?)?
    };
    base::with_ffn(keys, gguf, RopeStyle::Neox, Ffn::Moe(moe))
}
