//! The architectures: one file each, one line each in the registry.

mod base;
mod bert;
mod command_r;
mod deepseek2;
mod exaone;
mod experts;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma4;
mod gemma_embedding;
mod glm4;
mod gpt2;
mod gpt_oss;
mod gptneox;
mod granite;
mod llama;
mod llama4;
mod mistral3;
mod modern_bert;
mod olmo2;
mod olmoe;
mod phi3;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen3moe;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;
mod window;

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
    ("gemma", gemma::spec),
    ("gemma2", gemma2::spec),
    ("gemma3", gemma3::spec),
    ("gemma4", gemma4::spec),
    ("phi3", phi3::spec),
    ("granite", granite::spec),
    ("granitemoe", granite::spec_moe),
    ("gpt-oss", gpt_oss::spec),
    ("olmo2", olmo2::spec),
    ("olmoe", olmoe::spec),
    ("stablelm", stablelm::spec),
    ("falcon", falcon::spec),
    ("gpt2", gpt2::spec),
    ("starcoder", gpt2::spec),
    ("gptneox", gptneox::spec),
    ("starcoder2", starcoder2::spec),
    ("command-r", command_r::spec),
    ("cohere2", command_r::spec2),
    ("glm4", glm4::spec),
    ("smollm3", smollm3::spec),
    ("exaone", exaone::spec),
    ("exaone4", exaone::spec4),
    ("mistral3", mistral3::spec),
    ("deepseek2", deepseek2::spec),
    ("llama4", llama4::spec),
    ("seed_oss", seed_oss::spec),
    ("bert", bert::spec),
    ("nomic-bert", bert::spec_nomic),
    ("gemma-embedding", gemma_embedding::spec),
    ("modern-bert", modern_bert::spec),
];

/// The architectures that can be served, as `general.architecture` names them.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// Reads what kind of model a file holds.
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
            nearest: nearest(found),
            supported: supported_architectures().collect::<Vec<_>>().join(", "),
        });
    };
    read(&Keys { metadata, arch }, gguf)
}

/// The known name that is fewest changes away, of letters replaced, inserted or left out.
fn nearest(found: &str) -> &'static str {
    // Names are short; of a hostile one the beginning will do.
    let found: Vec<char> = found.chars().take(64).collect();
    supported_architectures().min_by_key(|name| edit_distance(&found, name)).unwrap_or_default()
}

fn edit_distance(a: &[char], b: &str) -> usize {
    // Distances of the part of `b` so far to every beginning of `a`.
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (j, b) in b.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], j + 1);
        for (i, a) in a.iter().enumerate() {
            let replaced = diagonal + usize::from(*a != b);
            diagonal = row[i + 1];
            row[i + 1] = replaced.min(row[i] + 1).min(diagonal + 1);
        }
    }
    row[a.len()]
}

#[cfg(test)]
mod tests {
    use super::{edit_distance, nearest};

    #[test]
    fn the_nearest_name_is_named() {
        let distance = |a: &str, b: &str| edit_distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
        assert_eq!((nearest("lama"), nearest("qwen3-moe")), ("llama", "qwen3moe"));
    }
}
