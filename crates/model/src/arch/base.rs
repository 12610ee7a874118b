//! What the metadata of every llama-like decoder has in common.

use gguf::{Gguf, GgufError};

use crate::{
    Activation, Attention, DecoderSpec, Ffn, LayerSpec, ModelError, Names, Norm, Residual, Rope, RopeStyle, keys::Keys,
    rope,
};

const MAX_LAYERS: usize = 1_024;
pub(super) const MAX_SIZE: usize = 1 << 20;
const MAX_CONTEXT: usize = 1 << 24;

/// Reads a llama-like decoder; the architecture's file then changes what differs.
pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf, style: RopeStyle) -> Result<DecoderSpec, ModelError> {
    let size = keys.require_size("feed_forward_length", MAX_SIZE)?;
    with_ffn(keys, gguf, style, Ffn::Gated { size, activation: Activation::Silu })
}

/// The same with this feed-forward block.
pub(super) fn with_ffn(keys: &Keys<'_>, gguf: &Gguf, style: RopeStyle, ffn: Ffn) -> Result<DecoderSpec, ModelError> {
    let hidden_size = keys.require_size("embedding_length", MAX_SIZE)?;
    let num_layers = keys.require_size("block_count", MAX_LAYERS)?;
    let attention = attention(keys, gguf, (hidden_size, style))?;
    let layer = LayerSpec { attention, ffn, residual: Residual::PreNorm };
    Ok(DecoderSpec {
        arch: keys.arch,
        name: keys.metadata.str("general.name")?.unwrap_or_default().to_owned(),
        vocab_size: vocab_size(gguf)?,
        hidden_size,
        context_length: keys.require_size("context_length", MAX_CONTEXT)?,
        learned_positions: None,
        embedding_scale: 1.0,
        norm: Norm::Rms,
        norm_eps: keys.require_positive("attention.layer_norm_rms_epsilon")?,
        layers: vec![layer; num_layers],
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        names: Names::default(),
    })
}

fn attention(keys: &Keys<'_>, gguf: &Gguf, (hidden_size, style): (usize, RopeStyle)) -> Result<Attention, ModelError> {
    let num_heads = keys.require_size("attention.head_count", MAX_SIZE)?;
    let num_kv_heads = keys.size("attention.head_count_kv", MAX_SIZE)?.unwrap_or(num_heads);
    if num_heads % num_kv_heads != 0 {
        let expected = format!("a divisor of the {num_heads} query heads");
        return Err(GgufError::invalid(keys.key("attention.head_count_kv"), num_kv_heads, expected).into());
    }
    let head_dim = match keys.size("attention.key_length", MAX_SIZE)? {
        Some(n) => n,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => return Err(GgufError::MissingKey(keys.key("attention.key_length")).into()),
    };
    if let Some(value) = keys.size("attention.value_length", MAX_SIZE)?.filter(|&v| v != head_dim) {
        return Err(ModelError::Unsupported {
            key: keys.key("attention.value_length"),
            found: value.to_string(),
            supported: format!("{head_dim}, the key length"),
        });
    }
    let dim = keys.size("rope.dimension_count", MAX_SIZE)?.unwrap_or(head_dim);
    if dim > head_dim || dim % 2 != 0 || head_dim % 2 != 0 {
        let expected = format!("an even number up to the head size {head_dim}");
        return Err(GgufError::invalid(keys.key("rope.dimension_count"), dim, expected).into());
    }
    let mut rope = Rope::new(style, dim, keys.positive("rope.freq_base")?.unwrap_or(10_000.0));
    rope::read_scaling(keys, gguf, &mut rope)?;
    Ok(Attention::plain(num_heads, num_kv_heads, head_dim, rope))
}

/// The rows of the embedding table are the vocabulary.
fn vocab_size(gguf: &Gguf) -> Result<usize, ModelError> {
    let name = "token_embd.weight";
    let embedding = gguf.tensor(name).ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
    Ok(embedding.shape.get(1).copied().unwrap_or(1))
}
