//! Converts the folder of a Hugging Face model.

use std::path::{Path, PathBuf};

use gguf::{GgmlType, Gguf, Metadata, Value, WriterOptions};

use crate::{
    ConvertError, OutType,
    arch::{Family, Heads},
    config::Config,
    general,
    keys::Keys,
    pooling, quantized,
    recipe::Recipe,
    safetensors::{Dtype, open_folder},
    stream::{self, Planned, Progress},
    tensor::Tensor,
    vocab,
};

/// How a folder is converted.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// The type of matrices; without it, 16 bits of the kind that the checkpoint has.
    pub out_type: Option<OutType>,
    /// The name of the pre-tokenizer, in place of the one found in `tokenizer.json`.
    pub pre: Option<String>,
    /// `USER/MODEL`, where the folder's own name says nothing.
    pub name: Option<String>,
    /// How the result is written.
    pub writer: WriterOptions,
}

/// What was converted.
#[derive(Debug)]
pub struct Converted {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// The model's architecture in GGUF.
    pub arch: String,
    /// The type of most weights.
    pub ggml_type: GgmlType,
    /// Why this program cannot serve the result, if it cannot.
    pub not_served: Option<String>,
}

/// Converts a folder to GGUF.
///
/// # Errors
/// [`ConvertError`] when the folder is not a whole model that is supported, or when the result cannot be written.
pub fn convert(
    folder: &Path,
    out: &Path,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<Converted, ConvertError> {
    let model = ModelFolder::open(folder)?;
    model.write(&model.recipes()?, out, options, progress)
}

/// An opened folder.
pub(crate) struct ModelFolder {
    path: PathBuf,
    pub(crate) family: &'static Family,
    config: Config,
    tensors: Vec<Tensor>,
    /// What the checkpoint's matrices are stored as.
    dtype: Dtype,
}

impl ModelFolder {
    pub(crate) fn open(path: &Path) -> Result<Self, ConvertError> {
        let json = Config::read(path)?;
        let family = Family::of_class(Config::architecture(&json)?)?;
        let config = Config::new(json, family.defaults)?;
        let stored = open_folder(path)?;
        let matrix = stored.values().find(|t| t.shape.len() > 1 && matches!(t.dtype, Dtype::Bf16 | Dtype::F16));
        let dtype = matrix.map_or(Dtype::F16, |t| t.dtype);
        let tensors = quantized::resolve(stored, &config.json)?;
        Ok(Self { path: path.to_owned(), family, config, tensors, dtype })
    }

    /// The tensors of the result.
    pub(crate) fn recipes(&self) -> Result<Vec<Recipe>, ConvertError> {
        // Layers behind the last draft the tokens after the next; they are left out.
        let drafts = self.config.json.size("num_nextn_predict_layers")?.unwrap_or(0) > 0;
        let num_layers = if drafts { self.config.num_layers()? } else { usize::MAX };
        let layer = |name: &str| name.strip_prefix("model.layers.")?.split('.').next()?.parse::<usize>().ok();
        let tensors = self.tensors.iter().filter(|t| layer(&t.name).is_none_or(|layer| layer < num_layers));
        let mut recipes = self.family.recipes(&self.heads()?, tensors.cloned())?;
        recipes.extend((self.family.extra)(&self.config)?);
        recipes.sort_by_cached_key(|r| (place(&r.name), r.name.clone()));
        Ok(recipes)
    }

    pub(crate) fn heads(&self) -> Result<Heads, ConvertError> {
        Heads::of_config(&self.config)
    }

    /// Writes the result.
    pub(crate) fn write(
        &self,
        recipes: &[Recipe],
        out: &Path,
        options: &ConvertOptions,
        progress: Progress<'_>,
    ) -> Result<Converted, ConvertError> {
        let by_dtype = if self.dtype == Dtype::Bf16 { OutType::Bf16 } else { OutType::F16 };
        let ggml_type = options.out_type.unwrap_or(by_dtype).ggml_type();
        let metadata = self.metadata(recipes, ggml_type, options)?;
        let planned: Vec<_> = recipes.iter().map(|recipe| plan(recipe.clone(), ggml_type)).collect();
        check_vocabulary(&metadata, &planned)?;
        let not_served = check(&metadata, &planned)?;
        let paths = stream::write(out, &metadata, &planned, &options.writer, progress)?;
        Ok(Converted { paths, arch: self.family.arch.to_owned(), ggml_type, not_served })
    }

    fn metadata(
        &self,
        recipes: &[Recipe],
        ggml_type: GgmlType,
        options: &ConvertOptions,
    ) -> Result<Metadata, ConvertError> {
        let mut metadata = Metadata::default();
        let arch = self.family.arch;
        metadata.insert("general.architecture", Value::String(arch.to_owned()));
        general::set((&self.path, options.name.as_deref()), &self.config.json, recipes, &mut metadata)?;
        if let Some(file_type) = general::file_type(ggml_type) {
            metadata.insert("general.file_type", Value::Uint(file_type));
        }
        (self.family.keys)(&mut Keys { arch, metadata: &mut metadata }, &self.config)?;
        pooling::set(&self.path, arch, &mut metadata)?;
        let rules = (arch, self.family.vocab);
        vocab::set_vocab(&self.path, &self.config, rules, options.pre.as_deref(), &mut metadata)?;
        Ok(metadata)
    }
}

/// Routers, positions and types of tokens are small and need their precision.
const STAY_FLOAT: &[&str] = &[
    "_norm.weight",
    ".ffn_gate_inp.weight",
    ".ffn_gate_inp_shexp.weight",
    "position_embd.weight",
    "token_types.weight",
];

/// The type of a tensor in a file whose matrices are of `ggml_type`.
pub(crate) fn plan(recipe: Recipe, ggml_type: GgmlType) -> Planned {
    let name = &recipe.name;
    let stays_float =
        recipe.shape.len() <= 1 || !name.ends_with(".weight") || STAY_FLOAT.iter().any(|suffix| name.ends_with(suffix));
    let wanted = recipe.forced.unwrap_or(if stays_float { GgmlType::F32 } else { ggml_type });
    let fits = recipe.num_cols().is_multiple_of(wanted.block_len());
    Planned { ggml_type: if fits { wanted } else { GgmlType::F16 }, recipe, copied: None }
}

/// Layers in their order, embeddings before them and the output behind.
pub(crate) fn place(name: &str) -> usize {
    let layer = name.strip_prefix("blk.").and_then(|n| n.split('.').next()).and_then(|n| n.parse::<usize>().ok());
    match layer {
        Some(layer) => 1 + layer.min(usize::MAX - 2),
        None if name.starts_with("output") => usize::MAX,
        None => 0,
    }
}

/// The embedding has a row for each token.
fn check_vocabulary(metadata: &Metadata, planned: &[Planned]) -> Result<(), ConvertError> {
    let embedding = planned.iter().find(|p| p.recipe.name == "token_embd.weight");
    let (Some(embedding), Some(tokens)) = (embedding, metadata.strings("tokenizer.ggml.tokens")?) else {
        return Ok(());
    };
    let (num_rows, num_tokens) = (embedding.recipe.num_rows(), tokens.len());
    if num_rows == num_tokens {
        return Ok(());
    }
    let what = format!("has {num_rows} rows, but the tokenizer and config.json make {num_tokens} tokens");
    Err(ConvertError::tensor(&embedding.recipe.name, what))
}

/// Checks that the result is a whole model; says why it cannot be served when it is of an architecture that is not.
pub(crate) fn check(metadata: &Metadata, planned: &[Planned]) -> Result<Option<String>, ConvertError> {
    let entries: Vec<_> = planned.iter().map(Planned::entry).collect();
    let described = Gguf::describe(metadata.clone(), &entries)?;
    let spec = match model::decoder_spec(&described) {
        Ok(spec) => spec,
        Err(error) => return Ok(Some(error.to_string())),
    };
    model::resolve_weights(&spec, &described)
        .map(|_| None)
        .map_err(|error| ConvertError::Unsupported(format!("the checkpoint is not whole: {error}")))
}
