//! What the metadata of every llama-like decoder has in common.

use gguf::{Gguf, GgufError};

use crate::{
    Activation, Attention, DecoderSpec, Ffn, Head, LayerSpec, ModelError, Names, Norm, Pooling, Residual, Rope,
    RopeStyle, keys::Keys, rope,
};

pub(super) const MAX_LAYERS: usize = 1_024;
pub(super) const MAX_SIZE: usize = 1 << 20;
const MAX_CONTEXT: usize = 1 << 24;

/// Architectures whose tokens see those after them.
const ENCODERS: [&str; 4] = ["bert", "nomic-bert", "gemma-embedding", "modern-bert"];

/// Reads a llama-like decoder; the architecture's file then changes what differs.
pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf, style: RopeStyle) -> Result<DecoderSpec, ModelError> {
    with_ffn(keys, gguf, style, gated(keys, Activation::Silu)?)
}

/// The same with this feed-forward block.
pub(super) fn with_ffn(keys: &Keys<'_>, gguf: &Gguf, style: RopeStyle, ffn: Ffn) -> Result<DecoderSpec, ModelError> {
    decoder(keys, gguf, Norm::Rms, (attention(keys, gguf, style)?, ffn))
}

/// A gated feed-forward block.
pub(super) fn gated(keys: &Keys<'_>, activation: Activation) -> Result<Ffn, ModelError> {
    Ok(Ffn::Gated { size: keys.require_size("feed_forward_length", MAX_SIZE)?, activation })
}

/// A feed-forward block without a gate.
pub(super) fn plain(keys: &Keys<'_>, activation: Activation) -> Result<Ffn, ModelError> {
    Ok(Ffn::Plain { size: keys.require_size("feed_forward_length", MAX_SIZE)?, activation })
}

/// A decoder of equal layers.
pub(super) fn decoder(
    keys: &Keys<'_>,
    gguf: &Gguf,
    norm: Norm,
    (attention, ffn): (Attention, Ffn),
) -> Result<DecoderSpec, ModelError> {
    let epsilon = match norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer | Norm::LayerWithBias => "attention.layer_norm_epsilon",
    };
    let layer = LayerSpec { attention, ffn, residual: Residual::PreNorm };
    Ok(DecoderSpec {
        arch: keys.arch,
        name: keys.metadata.str("general.name")?.unwrap_or_default().to_owned(),
        vocab_size: vocab_size(keys, gguf)?,
        hidden_size: hidden_size(keys)?,
        context_length: context_length(keys)?,
        learned_positions: None,
        token_types: None,
        embedding_scale: 1.0,
        embedding_norm: false,
        per_layer_inputs: None,
        norm,
        norm_eps: keys.require_positive(epsilon)?,
        layers: vec![layer; keys.require_size("block_count", MAX_LAYERS)?],
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        head: Head::Logits,
        pooling: pooling(keys)?,
        names: Names::default(),
    })
}

fn pooling(keys: &Keys<'_>) -> Result<Option<Pooling>, ModelError> {
    let suffix = "pooling_type";
    Ok(Some(match keys.uint(suffix)? {
        None => return Ok(None),
        Some(0) => Pooling::None,
        Some(1) => Pooling::Mean,
        Some(2) => Pooling::Cls,
        Some(3) => Pooling::Last,
        Some(4) => Pooling::Rank,
        Some(n) => return Err(GgufError::invalid(keys.key(suffix), n, "0 to 4").into()),
    }))
}

fn hidden_size(keys: &Keys<'_>) -> Result<usize, ModelError> {
    keys.require_size("embedding_length", MAX_SIZE)
}

pub(super) fn context_length(keys: &Keys<'_>) -> Result<usize, ModelError> {
    keys.require_size("context_length", MAX_CONTEXT)
}

/// Heads that all have one size.
pub(super) fn attention(keys: &Keys<'_>, gguf: &Gguf, style: RopeStyle) -> Result<Attention, ModelError> {
    let hidden_size = hidden_size(keys)?;
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
    // An architecture that is an encoder says so itself, see `bert`.
    if keys.bool("attention.causal")? == Some(false) && !ENCODERS.contains(&keys.arch) {
        return Err(ModelError::Unsupported {
            key: keys.key("attention.causal"),
            found: "false".to_owned(),
            supported: format!("true; false for {}", ENCODERS.join(", ")),
        });
    }
    Ok(Attention::plain(num_heads, num_kv_heads, head_dim, rope(keys, gguf, (style, dim))?))
}

/// The rotation of so many elements.
pub(super) fn rope(keys: &Keys<'_>, gguf: &Gguf, (style, dim): (RopeStyle, usize)) -> Result<Rope, ModelError> {
    let mut rope = Rope::new(style, dim, keys.positive("rope.freq_base")?.unwrap_or(10_000.0));
    rope::read_scaling(keys, gguf, &mut rope)?;
    Ok(rope)
}

/// The rows of the embedding table are the vocabulary; each token has one.
fn vocab_size(keys: &Keys<'_>, gguf: &Gguf) -> Result<usize, ModelError> {
    let name = "token_embd.weight";
    let embedding = gguf.tensor(name).ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
    let rows = embedding.shape.get(1).copied().unwrap_or(1);
    let key = "tokenizer.ggml.tokens";
    match keys.metadata.strings(key)? {
        Some(tokens) if tokens.len() > rows => {
            let expected = format!("at most {rows}, the rows of `{name}`");
            Err(GgufError::invalid(key, format!("a list of {} tokens", tokens.len()), expected).into())
        }
        _ => Ok(rows),
    }
}
