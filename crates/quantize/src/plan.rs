//! Which tensor becomes which type.

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr,
};

use gguf::{GgmlType, Gguf, Split, TensorInfo};
use quant::Format;
use regex::Regex;

use crate::{
    FileType, Imatrix, QuantizeError, mix,
    mix::{ModelShape, TensorShape},
    prune::Pruning,
    tensor_role::{Role, is_quantizable, layer},
};

/// `PATTERN=TYPE`: the type of tensors whose names a regular expression finds.
#[derive(Clone, Debug)]
pub struct Override {
    pattern: Regex,
    ggml_type: GgmlType,
}

impl FromStr for Override {
    type Err = QuantizeError;

    fn from_str(text: &str) -> Result<Self, QuantizeError> {
        let fail = |reason: String| QuantizeError::Override { found: text.to_owned(), reason };
        let (pattern, name) = text.rsplit_once('=').ok_or_else(|| fail("there is no `=`".to_owned()))?;
        let pattern = Regex::new(pattern).map_err(|e| fail(e.to_string()))?;
        Ok(Self { pattern, ggml_type: tensor_type(name)? })
    }
}

/// The tensor type with this name, in capitals or not.
///
/// # Errors
/// [`QuantizeError::TensorType`] when there is none that can be made.
pub(crate) fn tensor_type(name: &str) -> Result<GgmlType, QuantizeError> {
    let found = Format::all().iter().map(|f| f.ggml_type).find(|t| t.name().eq_ignore_ascii_case(name.trim()));
    found.ok_or_else(|| QuantizeError::TensorType { found: name.to_owned() })
}

pub(crate) fn tensor_type_names() -> String {
    Format::all().iter().map(|f| f.ggml_type.name()).collect::<Vec<_>>().join(", ")
}

/// What to make of a file.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mix; `None` copies all tensors.
    pub file_type: Option<FileType>,
    /// Types of single tensors; the first that fits wins.
    pub overrides: Vec<Override>,
    /// The base type for all matrices, no mix.
    pub pure: bool,
    /// Keep `output.weight` as it is.
    pub leave_output: bool,
    /// The type of `output.weight`, or of the embeddings where they are one.
    pub output_type: Option<GgmlType>,
    /// The type of the token embeddings.
    pub token_embedding_type: Option<GgmlType>,
    /// Quantize what is quantized already.
    pub allow_requantize: bool,
    /// What matters.
    pub imatrix: Option<Imatrix>,
    /// Layers to leave out; those behind them get lower numbers.
    pub prune: BTreeSet<usize>,
    /// Write as many files as the source has, with the same tensors each.
    pub keep_split: bool,
}

impl Options {
    /// A mix with nothing special.
    #[must_use]
    pub fn new(file_type: FileType) -> Self {
        Self {
            file_type: Some(file_type),
            overrides: Vec::new(),
            pure: false,
            leave_output: false,
            output_type: None,
            token_embedding_type: None,
            allow_requantize: false,
            imatrix: None,
            prune: BTreeSet::new(),
            keep_split: false,
        }
    }

    /// The tensor type with this name.
    ///
    /// # Errors
    /// [`QuantizeError::TensorType`] when there is none that can be made.
    pub fn tensor_type(name: &str) -> Result<GgmlType, QuantizeError> {
        tensor_type(name)
    }
}

/// A tensor and what it becomes.
#[derive(Clone, Debug)]
pub struct PlannedTensor {
    /// As it is.
    pub source: TensorInfo,
    /// The name that it gets: another one where layers before it are left out.
    pub name: String,
    /// What it becomes.
    pub to: GgmlType,
    /// Whether its shape did not allow the type that the mix wants.
    pub fell_back: bool,
    /// Whether it is of a type that needs an importance matrix to be good, and there is none for it.
    pub lacks_importance: bool,
    /// Whether there is an importance matrix, but not for it, though it is quantized.
    pub is_unknown: bool,
}

impl PlannedTensor {
    /// Bytes that it will take.
    #[must_use]
    pub fn num_bytes(&self) -> u64 {
        let columns = self.source.shape[0] as u64;
        // The plan chose a type whose blocks divide the rows.
        self.to.row_bytes(columns).unwrap_or(0) * (self.source.num_weights() as u64 / columns)
    }
}

/// What becomes of a file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All tensors, in the order of the file.
    pub tensors: Vec<PlannedTensor>,
    pub(crate) file_type: Option<FileType>,
    pub(crate) imatrix: Option<Imatrix>,
    pub(crate) pruning: Pruning,
    /// Tensors of each file.
    files: Vec<usize>,
}

impl Plan {
    /// Decides for every tensor of a file.
    ///
    /// # Errors
    /// [`QuantizeError`] when a tensor is quantized already, of a type that we cannot read, or does not fit its importance
    /// matrix.
    pub fn new(gguf: &Gguf, options: &Options) -> Result<Self, QuantizeError> {
        let pruning = Pruning::new(gguf, &options.prune)?;
        let named = |t: &TensorInfo| Some((pruning.name(&t.name)?, t.clone()));
        let kept: Vec<(String, TensorInfo)> = gguf.tensors().iter().filter_map(named).collect();
        let planner = Planner { options, shape: model_shape(gguf, &kept, options), ranks: value_ranks(&kept) };
        let files = if options.keep_split { tensors_by_file(gguf, &kept) } else { vec![kept.len()] };
        let tensors = kept.into_iter().map(|(name, t)| planner.plan(name, t)).collect::<Result<Vec<_>, _>>()?;
        if let Some(imatrix) = &options.imatrix
            && !tensors.iter().any(|t| imatrix.get(&t.source.name).is_some())
        {
            return Err(QuantizeError::ImatrixUnrelated { entries: imatrix.len() });
        }
        Ok(Self { tensors, file_type: options.file_type, imatrix: options.imatrix.clone(), pruning, files })
    }

    /// Files that it makes of the one name that [`Plan::run`] is given.
    #[must_use]
    pub fn num_files(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn split(&self) -> Split {
        if self.files.len() > 1 { Split::Tensors(self.files.clone()) } else { Split::Whole }
    }

    /// Bytes of all tensors, before and after.
    #[must_use]
    pub fn num_bytes(&self) -> (u64, u64) {
        let before = self.tensors.iter().map(|t| t.source.num_bytes as u64).sum();
        (before, self.tensors.iter().map(PlannedTensor::num_bytes).sum())
    }
}

/// How many tensors each file of the source has that holds any.
fn tensors_by_file(gguf: &Gguf, kept: &[(String, TensorInfo)]) -> Vec<usize> {
    let counts = (0..gguf.num_files()).map(|file| kept.iter().filter(|(_, t)| gguf.file_of(t) == file).count());
    counts.filter(|count| *count > 0).collect()
}

fn model_shape(gguf: &Gguf, kept: &[(String, TensorInfo)], options: &Options) -> ModelShape {
    let metadata = gguf.metadata();
    let arch = metadata.str("general.architecture").ok().flatten().unwrap_or_default();
    let number = |key: &str| metadata.uint(&format!("{arch}.{key}")).ok().flatten().map(|n| n as usize);
    // Some models have a number for each layer; as llama.cpp does, the first counts.
    let heads = |key: &str| metadata.uints(&format!("{arch}.{key}")).ok().flatten().and_then(|n| n.first().copied());
    let num_heads = heads("attention.head_count").unwrap_or(1);
    let num_kv_heads = heads("attention.head_count_kv").unwrap_or(num_heads).max(1);
    ModelShape {
        num_layers: number("block_count").unwrap_or(0),
        heads_per_kv: (num_heads / num_kv_heads) as usize,
        num_experts: number("expert_count").unwrap_or(0),
        num_values: kept.iter().filter(|(name, _)| Role::of(name) == Role::AttentionValue).count(),
        is_tied: gguf.tensor("output.weight").is_none(),
        has_imatrix: options.imatrix.is_some(),
    }
}

/// The place of each matrix of attention values among them, by layer: hybrid models do not have one in every layer.
fn value_ranks(kept: &[(String, TensorInfo)]) -> HashMap<String, usize> {
    let names = kept.iter().map(|(name, _)| name);
    let mut values: Vec<_> = names.filter(|name| Role::of(name) == Role::AttentionValue).collect();
    values.sort_by_key(|name| layer(name));
    values.into_iter().enumerate().map(|(rank, name)| (name.clone(), rank)).collect()
}

struct Planner<'a> {
    options: &'a Options,
    shape: ModelShape,
    ranks: HashMap<String, usize>,
}

impl Planner<'_> {
    fn plan(&self, name: String, source: TensorInfo) -> Result<PlannedTensor, QuantizeError> {
        let wanted = self.wanted_type(&name, &source);
        let to = mix::fallback(wanted, source.shape[0]);
        let tensor = || source.name.clone();
        if to != source.ggml_type {
            let from = source.ggml_type;
            Format::of(from).map_err(|error| QuantizeError::Source { tensor: tensor(), source: error })?;
            if from.block_len() > 1 && !self.options.allow_requantize {
                return Err(QuantizeError::Requantize { tensor: tensor(), from, to });
            }
        }
        let importance = self.options.imatrix.as_ref().and_then(|i| i.get(&source.name));
        if let Some(importance) = importance {
            let (columns, experts) = (source.shape[0], source.shape.get(2).copied().unwrap_or(1));
            if importance.len() != columns && importance.len() != columns * experts {
                let (found, expected) = (importance.len(), columns * experts);
                return Err(QuantizeError::ImatrixShape { tensor: tensor(), found, expected });
            }
        }
        Ok(PlannedTensor {
            to,
            fell_back: to != wanted,
            lacks_importance: to != source.ggml_type && importance.is_none() && self.needs_importance(&name, to),
            is_unknown: self.options.imatrix.is_some() && importance.is_none() && is_weighed(&name, &source, to),
            name,
            source,
        })
    }

    fn wanted_type(&self, name: &str, tensor: &TensorInfo) -> GgmlType {
        let Options { file_type, overrides, pure, leave_output, output_type, token_embedding_type, .. } = self.options;
        let Some(file_type) = *file_type else { return tensor.ggml_type };
        let is_kept = tensor.shape.len() < 2 || !is_quantizable(name);
        if is_kept || *leave_output && name == "output.weight" {
            return tensor.ggml_type;
        }
        let role = Role::of(name);
        let has_own_type = match role {
            Role::TokenEmbedding => token_embedding_type.or(output_type.filter(|_| self.shape.is_tied)),
            Role::Output => *output_type,
            _ => None,
        };
        let by_pattern = overrides.iter().find(|o| o.pattern.is_match(name)).map(|o| o.ggml_type);
        if let Some(ggml_type) = has_own_type.or(by_pattern) {
            return ggml_type;
        }
        if *pure || file_type.base().block_len() == 1 {
            return file_type.base();
        }
        let index = self.ranks.get(name).copied().or_else(|| layer(name)).unwrap_or(0);
        let has_experts = tensor.shape.get(2).is_some_and(|n| *n > 1);
        let shape = TensorShape { role, index, num_columns: tensor.shape[0], has_experts };
        mix::mixed_type(file_type, &self.shape, &shape)
    }

    fn needs_importance(&self, name: &str, to: GgmlType) -> bool {
        use GgmlType::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_XXS, Q2_K};
        let is_embedding = matches!(Role::of(name), Role::TokenEmbedding | Role::Output);
        let is_small = matches!(to, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS);
        !is_embedding && (is_small || to == Q2_K && self.options.file_type == Some(FileType::Q2_K_S))
    }
}

/// Whether an importance matrix would have a say in it.
fn is_weighed(name: &str, source: &TensorInfo, to: GgmlType) -> bool {
    to != source.ggml_type && to.block_len() > 1 && layer(name).is_some()
}
