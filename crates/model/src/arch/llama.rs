//! `llama`: Llama 1-3, Mistral and the many fine-tunes that share their shape; Mixtral, whose files name experts.

use gguf::Gguf;

use super::{base, experts::experts};
use crate::{DecoderSpec, Ffn, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    // Some files of dense models say that they have no expert.
    if keys.metadata.uint(&keys.key("expert_count"))?.unwrap_or(0) == 0 {
        return base::spec(keys, gguf, RopeStyle::Norm);
    }
    let size = keys.require_size("feed_forward_length", base::MAX_SIZE)?;
    let moe = experts(keys, size)?;
    base::with_ffn(keys, gguf, RopeStyle::Norm, Ffn::Moe(moe))
}
