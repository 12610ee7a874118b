//! `deepseek2`: DeepSeek 2 and 3 and what shares their shape; latent attention, leading layers without experts, an expert that
//! all tokens pass, experts in groups.

use gguf::{Gguf, GgufError};

use super::{
    base,
    experts::{expert_size, experts, num_leading_dense, shared_experts},
};
use crate::{
    Activation, Attention, DecoderSpec, Ffn, Latent, ModelError, Moe, Norm, RopeScaling, RopeStyle, keys::Keys,
};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let dense = base::gated(keys, Activation::Silu)?;
    let mut spec = base::decoder(keys, gguf, Norm::Rms, (attention(keys, gguf)?, dense))?;
    let num_dense = num_leading_dense(keys)?;
    if num_dense < spec.layers.len() {
        let size = expert_size(keys)?;
        let normalize = keys.bool("expert_weights_norm")?.unwrap_or(false);
        let moe = Moe { normalize, shared: shared_experts(keys, size)?, ..experts(keys, size)? };
        spec.layers.iter_mut().skip(num_dense).for_each(|layer| layer.ffn = Ffn::Moe(moe));
    }
    Ok(spec)
}

fn attention(keys: &Keys<'_>, gguf: &Gguf) -> Result<Attention, ModelError> {
    let size = |key| keys.require_size(key, base::MAX_SIZE);
    let (num_heads, kv_rank) = (size("attention.head_count")?, size("attention.kv_lora_rank")?);
    let rope_dim = size("rope.dimension_count")?;
    // Files that hold absorbed matrices have the sizes of real heads under names of their own.
    let head_size = |key: &str| match keys.size(&format!("{key}_mla"), base::MAX_SIZE)? {
        Some(size) => Ok(size),
        None => keys.require_size(key, base::MAX_SIZE),
    };
    let (key_dim, value_dim) = (head_size("attention.key_length")?, head_size("attention.value_length")?);
    if rope_dim >= key_dim || rope_dim % 2 != 0 {
        let expected = format!("an even number below the head size {key_dim}");
        return Err(GgufError::invalid(keys.key("rope.dimension_count"), rope_dim, expected).into());
    }
    let mut rope = base::rope(keys, gguf, (RopeStyle::Norm, rope_dim))?;
    let mut scale = 1.0 / (key_dim as f32).sqrt();
    if let (RopeScaling::Yarn(yarn), Some(log_multiplier)) =
        (rope.scaling, keys.positive("rope.scaling.yarn_log_multiplier")?)
    {
        // The file has a tenth of `mscale_all_dim`, which equals `mscale`: scores grow instead of rotated elements.
        rope.magnitude = 1.0;
        scale *= yarn.attention_factor(10.0 * log_multiplier).powi(2);
    }
    let latent = Latent {
        q_rank: keys.size("attention.q_lora_rank", base::MAX_SIZE)?,
        kv_rank,
        nope_dim: key_dim - rope_dim,
        value_dim,
    };
    Ok(Attention { latent: Some(latent), scale, ..Attention::plain(num_heads, 1, kv_rank + rope_dim, rope) })
}
