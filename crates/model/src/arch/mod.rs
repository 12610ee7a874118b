//! The architectures: one file each, one line each in the registry.

mod base;
mod experts;
mod gemma3;
mod llama;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen3moe;

use gguf::Gguf;

use crate::{DecoderSpec, ModelError, keys::Keys};

type ReadSpec = fn(&Keys<'_>, &Gguf) -> Result<DecoderSpec, ModelError>;

/// `general.architecture` and the function that reads such a model's metadata.
const REGISTRY: &[(&str, ReadSpec)] = &[
    ("llama", llama::spec),
    ("mistral", llama::spec),
    ("qwen2", qwen2::spec),
    ("qwen2moe", qwen2moe::spec),
    ("qwen3", qwen3::spec),
    ("qwen3moe", qwen3moe::spec),
    ("gemma3", gemma3::spec),
];

/// The architectures that can be served, as `general.architecture` names them.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// Reads what kind of decoder a file holds.
///
/// # Errors
/// [`ModelError`] when the architecture is unknown or its metadata is missing or out of bounds.
pub fn decoder_spec(gguf: &Gguf) -> Result<DecoderSpec, ModelError> {
    let metadata = gguf.metadata();
    let key = "general.architecture";
    let found = metadata.require(key, metadata.str(key))?;
    let Some((arch, read)) = REGISTRY.iter().find(|(name, _)| *name == found) else {
        return Err(ModelError::UnknownArchitecture {
            found: found.to_owned(),
            supported: supported_architectures().collect::<Vec<_>>().join(", "),
        });
    };
    read(&Keys { metadata, arch }, gguf)
}
