//! `qwen3moe`: Qwen 3 with experts, whose weights are normalized.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_size, experts},
};
use crate::{DecoderSpec, Ffn, ModelError, QkNorm, RopeStyle, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let moe = experts(keys, expert_size(keys)?)?;
    let mut spec = base::with_ffn(keys, gguf, RopeStyle::Neox, Ffn::Moe(moe))?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = QkNorm::PerHead;
    }
    Ok(spec)
}
