//! `qwen2`: Qwen 1.5, 2 and 2.5; biases on queries, keys and values, rotation by halves.

use gguf::Gguf;

use super::base;
use crate::{DecoderSpec, ModelError, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    base::spec(keys, gguf, RopeStyle::Neox)
}
