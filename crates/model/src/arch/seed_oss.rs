//! `seed_oss`: like Qwen 2, with gpt-oss' name for the norm before the feed-forward block.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, Names, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let names = Names { ffn_norm: "post_attention_norm", ..Names::default() };
    Ok(DecoderSpec { names, ..base::spec(keys, gguf, RopeStyle::Neox)? })
}
