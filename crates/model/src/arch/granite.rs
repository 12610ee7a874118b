//! `granite`, and `granitemoe` with experts: Llama with multipliers of embeddings, scores, blocks and logits.

use gguf::Gguf;

use super::{
    base,
    experts::{expert_or_dense_size, experts},
};
use crate::{DecoderSpec, Ffn, ModelError, Moe, RopeStyle, Shared, SharedWeight, keys::Keys};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    scaled(keys, base::spec(keys, gguf, RopeStyle::Norm)?)
}

pub(super) fn spec_moe(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let shared_size = keys.uint("expert_shared_feed_forward_length")?.filter(|&n| n > 0);
    let shared = match shared_size {
        Some(_) => {
            let size = keys.require_size("expert_shared_feed_forward_length", base::MAX_SIZE)?;
            Some(Shared { size, weight: SharedWeight::One })
        }
        None => None,
    };
    let moe = Moe { shared, ..experts(keys, expert_or_dense_size(keys)?)? };
    scaled(keys, base::with_ffn(keys, gguf, RopeStyle::Norm, Ffn::Moe(moe))?)
}

fn scaled(keys: &Keys<'_>, mut spec: DecoderSpec) -> Result<DecoderSpec, ModelError> {
    spec.embedding_scale = keys.positive("embedding_scale")?.unwrap_or(1.0);
    spec.residual_scale = keys.positive("residual_scale")?.unwrap_or(1.0);
    // The file has a divisor.
    spec.logit_scale = 1.0 / keys.require_positive("logit_scale")?;
    if let Some(scale) = keys.positive("attention.scale")? {
        spec.layers.iter_mut().for_each(|layer| layer.attention.scale = scale);
    }
    Ok(spec)
}
