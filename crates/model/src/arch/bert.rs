//! `bert`: an encoder with learned positions; a norm of the embeddings and of each sum with a block's output. XLM-RoBERTa
//! models are of this kind too. `nomic-bert`: rotation instead of learned positions, and a gated feed-forward block.
//!
//! `bert` takes GELU with the error function, as the models were trained.

use gguf::Gguf;

use super::base;
use crate::{
    Activation, Attention, DecoderSpec, Ffn, Head, Mask, ModelError, Names, Norm, Pooling, Residual, Rope, RopeStyle,
    keys::Keys,
};

pub(super) fn spec(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = Attention { rope: Rope::none(), ..base::attention(keys, gguf, RopeStyle::Neox)? };
    let spec = encoder(keys, gguf, (attention, base::plain(keys, Activation::Gelu)?))?;
    Ok(DecoderSpec { learned_positions: Some(spec.context_length), ..spec })
}

pub(super) fn spec_nomic(keys: &Keys<'_>, gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let attention = base::attention(keys, gguf, RopeStyle::Neox)?;
    encoder(keys, gguf, (attention, base::gated(keys, Activation::Silu)?))
}

fn encoder(keys: &Keys<'_>, gguf: &Gguf, (attention, ffn): (Attention, Ffn)) -> Result<DecoderSpec, ModelError> {
    let attention = Attention { mask: Mask::Bidirectional, ..attention };
    let mut spec = base::decoder(keys, gguf, Norm::LayerWithBias, (attention, ffn))?;
    if spec.pooling == Some(Pooling::Rank) {
        return Err(ModelError::Unsupported {
            key: keys.key("pooling_type"),
            found: "4, a classifier that ranks texts".to_owned(),
            supported: "embeddings: 0 to 3".to_owned(),
        });
    }
    spec.layers.iter_mut().for_each(|layer| layer.residual = Residual::NormedSum);
    // Models that know one kind of text have no table.
    let token_types = gguf.tensor("token_types.weight").map(|table| table.shape.get(1).copied().unwrap_or(1));
    Ok(DecoderSpec {
        token_types,
        embedding_norm: true,
        head: Head::None,
        names: Names {
            post_attention_norm: "attn_output_norm",
            post_ffw_norm: "layer_output_norm",
            ..Names::default()
        },
        ..spec
    })
}
