//! How the models of each family are called by Hugging Face and in GGUF. One file per family, one line each here.

mod bert;
mod cohere;
mod deepseek;
mod exaone;
mod falcon;
mod gemma;
mod gemma4;
mod glm;
mod gpt2;
mod gpt_oss;
mod gptneox;
mod llama;
mod llama4;
mod names;
mod olmo;
mod phi3;
mod qwen;
mod seed_oss;
mod stablelm;
mod starcoder2;

use gguf::Metadata;

use crate::{
    ConvertError,
    config::Config,
    keys::Keys,
    recipe::{Part, Pick, Recipe},
    tensor::Tensor,
};
use names::Table;
pub(crate) use names::Target;

const FAMILIES: &[&[Family]] = &[
    llama::FAMILY,
    qwen::FAMILY,
    gemma::FAMILY,
    gemma4::FAMILY,
    phi3::FAMILY,
    olmo::FAMILY,
    stablelm::FAMILY,
    falcon::FAMILY,
    gpt2::FAMILY,
    starcoder2::FAMILY,
    cohere::FAMILY,
    glm::FAMILY,
    exaone::FAMILY,
    gptneox::FAMILY,
    gpt_oss::FAMILY,
    deepseek::FAMILY,
    llama4::FAMILY,
    seed_oss::FAMILY,
    bert::FAMILY,
];

/// A family of models.
pub(crate) struct Family {
    /// Its classes in `config.json`.
    pub(crate) classes: &'static [&'static str],
    /// Its name in GGUF.
    pub(crate) arch: &'static str,
    /// The names of its tensors.
    tables: &'static [Table],
    /// What `config.json` may leave out, as JSON.
    pub(crate) defaults: &'static str,
    /// Sets the metadata keys.
    pub(crate) keys: fn(&mut Keys<'_>, &Config) -> Result<(), ConvertError>,
    /// Makes tensors of the result of a tensor of the model.
    tensor: fn(&Heads, &Target, Tensor) -> Result<Vec<Recipe>, ConvertError>,
    /// Tensors that are computed from the configuration.
    pub(crate) extra: fn(&Config) -> Result<Vec<Recipe>, ConvertError>,
    pub(crate) vocab: VocabRules,
}

/// What is particular to a family's vocabulary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VocabRules {
    /// `tokenizer.ggml.add_space_prefix`, where it is not left to the tokenizer's own files.
    pub(crate) add_space_prefix: Option<bool>,
    /// Whether `add_prefix_space` of `tokenizer_config.json` is copied.
    pub(crate) copies_space_prefix: bool,
    /// Whether texts begin with a token of their own whatever the files say.
    pub(crate) adds_bos: bool,
    /// The name of a vocabulary of merges of characters, where it is not written as one of SentencePiece.
    pub(crate) merges_of_characters: Option<&'static str>,
    /// Special tokens that stay readable in a text.
    pub(crate) visible: &'static [&'static str],
    /// Special tokens by id that no file names.
    pub(crate) special: &'static [(&'static str, u64)],
    /// Special tokens by their text.
    pub(crate) special_texts: &'static [(&'static str, &'static str)],
}

impl VocabRules {
    /// Nothing is particular.
    const NONE: Self = Self {
        add_space_prefix: None,
        copies_space_prefix: false,
        adds_bos: false,
        merges_of_characters: None,
        visible: &[],
        special: &[],
        special_texts: &[],
    };
}

/// The sizes that tensors are reordered by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) num_heads: usize,
    pub(crate) num_kv_heads: usize,
    /// The part of a key that is not rotated, where it is made of a latent.
    pub(crate) nope_dim: usize,
    /// The first row of a table of positions that is one.
    pub(crate) first_position: usize,
}

impl Heads {
    pub(crate) fn of_config(config: &Config) -> Result<Self, ConvertError> {
        let nope_dim = config.json.size("qk_nope_head_dim")?.unwrap_or(0);
        Ok(Self {
            num_heads: config.num_heads()?,
            num_kv_heads: config.num_kv_heads()?,
            nope_dim,
            first_position: config.first_position(),
        })
    }

    /// The same of a GGUF file.
    pub(crate) fn of_metadata(arch: &str, metadata: &Metadata) -> Result<Self, ConvertError> {
        let key = format!("{arch}.attention.head_count");
        let num_heads = metadata.require(&key, metadata.uint(&key))? as usize;
        let num_kv_heads = metadata.uint(&format!("{key}_kv"))?.map_or(num_heads, |n| n as usize);
        let key_dim = metadata.uint(&format!("{arch}.attention.key_length_mla"))?.unwrap_or(0);
        let rope_dim = metadata.uint(&format!("{arch}.rope.dimension_count"))?.unwrap_or(0);
        let nope_dim = key_dim.saturating_sub(rope_dim) as usize;
        Ok(Self { num_heads, num_kv_heads, nope_dim, first_position: 0 })
    }
}

impl Family {
    /// A family whose tensors are only renamed and whose keys are those that all have; a table says what else it needs.
    const fn new(classes: &'static [&'static str], arch: &'static str, tables: &'static [Table]) -> Self {
        Self {
            classes,
            arch,
            tables,
            defaults: "{}",
            keys: common_keys,
            tensor: rename,
            extra: nothing,
            vocab: VocabRules::NONE,
        }
    }

    /// The family of a class of models.
    pub(crate) fn of_class(class: &str) -> Result<&'static Self, ConvertError> {
        let all = || FAMILIES.iter().copied().flatten();
        all().find(|f| f.classes.contains(&class)).ok_or_else(|| {
            let known: Vec<_> = all().flat_map(|f| f.classes).copied().collect();
            ConvertError::Unsupported(format!("models of class `{class}` are not supported; {} are", known.join(", ")))
        })
    }

    /// The family of a GGUF architecture.
    pub(crate) fn of_arch(arch: &str) -> Result<&'static Self, ConvertError> {
        let mut all = FAMILIES.iter().copied().flatten();
        all.find(|f| f.arch == arch).ok_or_else(|| {
            ConvertError::Unsupported(format!("the tensor names of architecture `{arch}` are not known to `convert`"))
        })
    }

    /// All tensors of the result that come from the model's own.
    pub(crate) fn recipes(
        &self,
        heads: &Heads,
        tensors: impl Iterator<Item = Tensor>,
    ) -> Result<Vec<Recipe>, ConvertError> {
        let mut recipes = Vec::new();
        let mut experts: Vec<(Target, Tensor)> = Vec::new();
        for tensor in tensors.filter(|t| !is_computed_anew(&t.name)) {
            let Some(target) = names::find(self.tables, &tensor.name) else {
                if is_of_another_modality(&tensor.name) {
                    continue;
                }
                return Err(tensor.error(format!("has no place in a model of architecture `{}`", self.arch)));
            };
            if target.base == names::LEFT_OUT {
                continue;
            }
            if target.expert.is_some() {
                experts.push((target, tensor));
            } else {
                recipes.extend((self.tensor)(heads, &target, tensor)?);
            }
        }
        recipes.extend(stack(experts)?);
        Ok(recipes)
    }
}

/// Buffers that older checkpoints keep and no reader needs.
fn is_computed_anew(name: &str) -> bool {
    let suffixes =
        [".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq", ".attn.masked_bias", ".attn.bias"];
    suffixes.iter().any(|s| name.ends_with(s))
}

/// Encoders of images and sound, which a text model does without.
fn is_of_another_modality(name: &str) -> bool {
    ["vision_", "visual.", "vision.", "audio_", "audio.", "multi_modal_projector", "mm_projector", "embed_vision"]
        .iter()
        .any(|part| name.contains(part))
}

/// Stacks the matrices of experts, first to last.
fn stack(mut experts: Vec<(Target, Tensor)>) -> Result<Vec<Recipe>, ConvertError> {
    experts.sort_by(|(a, _), (b, _)| (&a.base, &a.suffix, a.expert).cmp(&(&b.base, &b.suffix, b.expert)));
    let mut recipes = Vec::new();
    for group in experts.chunk_by(|(a, _), (b, _)| (&a.base, &a.suffix) == (&b.base, &b.suffix)) {
        let (target, first) = &group[0];
        let parts = group.iter().enumerate().map(|(idx, (target, tensor))| {
            if target.expert != Some(idx) || tensor.shape != first.shape {
                let what = format!("does not continue the experts before it (expert {idx} of shape {:?})", first.shape);
                return Err(tensor.error(what));
            }
            Ok(Part { tensor: tensor.clone(), num_rows: tensor.num_rows(), pick: Pick::From(0) })
        });
        let shape = [&[group.len()], first.shape.as_slice()].concat();
        let parts = parts.collect::<Result<_, _>>()?;
        recipes.push(Recipe::of_parts(target.name(), shape, parts));
    }
    Ok(recipes)
}

/// [`Family::tensor`] of families that only rename.
fn rename(_: &Heads, target: &Target, tensor: Tensor) -> Result<Vec<Recipe>, ConvertError> {
    Ok(vec![Recipe::rename(target.name(), tensor)])
}

/// [`Family::extra`] of families that have no such tensors.
fn nothing(_: &Config) -> Result<Vec<Recipe>, ConvertError> {
    Ok(Vec::new())
}

/// [`Family::keys`] of families that have no keys of their own.
fn common_keys(keys: &mut Keys<'_>, config: &Config) -> Result<(), ConvertError> {
    keys.set_common(config)
}

#[cfg(test)]
mod tests {
    use super::FAMILIES;

    #[test]
    fn the_document_names_every_class() {
        let document = include_str!("../../../../docs/convert.md");
        for class in FAMILIES.iter().copied().flatten().flat_map(|f| f.classes) {
            assert!(document.contains(&format!("`{class}`")), "docs/convert.md does not name `{class}`");
        }
    }
}
