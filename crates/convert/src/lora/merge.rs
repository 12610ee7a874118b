//! Merges adapters into a base.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use gguf::{Gguf, WriterOptions};

use super::{Change, Effect, changes};
use crate::{
    ConvertError, ConvertOptions, Converted, OutType,
    arch::{Family, Heads},
    folder::{self, ModelFolder, plan},
    general, gguf_base,
    recipe::Recipe,
    stream::{self, Copied, Planned, Progress},
    tensor::{Rows, Tensor},
};

/// How adapters are merged.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// Multiplies what the adapters add.
    pub scale: f32,
    /// The type of matrices; without it, those of a GGUF base stay as they are, and a folder's keep their 16 bits.
    pub out_type: Option<OutType>,
    /// How the result is written.
    pub writer: WriterOptions,
}

/// Merges adapters, folders of PEFT or GGUF files, into a base, a folder or a GGUF file, and writes a GGUF file.
///
/// # Errors
/// [`ConvertError`] when base and adapters do not fit, or when the result cannot be written.
pub fn merge_lora(
    base: &Path,
    adapters: &[PathBuf],
    out: &Path,
    options: &MergeOptions,
    progress: Progress<'_>,
) -> Result<Converted, ConvertError> {
    if base.is_dir() {
        let model = ModelFolder::open(base)?;
        let mut recipes = model.recipes()?;
        for adapter in adapters {
            apply(adapter, changes(adapter, model.family, &model.heads()?, options.scale)?, &mut recipes)?;
        }
        recipes.sort_by_cached_key(|r| (folder::place(&r.name), r.name.clone()));
        let writer = options.writer.clone();
        model.write(
            &recipes,
            out,
            &ConvertOptions { out_type: options.out_type, writer, ..ConvertOptions::default() },
            progress,
        )
    } else {
        merge_into_gguf(base, adapters, out, options, progress)
    }
}

fn merge_into_gguf(
    base: &Path,
    adapters: &[PathBuf],
    out: &Path,
    options: &MergeOptions,
    progress: Progress<'_>,
) -> Result<Converted, ConvertError> {
    let gguf = Arc::new(Gguf::open(base)?);
    let mut metadata = gguf.metadata().clone();
    let key = "general.architecture";
    let arch = metadata.require(key, metadata.str(key))?.to_owned();
    let family = Family::of_arch(&arch)?;
    let heads = Heads::of_metadata(&arch, &metadata)?;
    let tensors = gguf.tensors().iter().map(|info| gguf_base::tensor(&gguf, info));
    let mut recipes = tensors.map(|t| t.map(|t| Recipe::rename(t.name.clone(), t))).collect::<Result<Vec<_>, _>>()?;
    let mut changed = Vec::new();
    for adapter in adapters {
        let changes = changes(adapter, family, &heads, options.scale)?;
        changed.extend(changes.iter().map(|c| c.name.clone()));
        apply(adapter, changes, &mut recipes)?;
    }
    let planned: Vec<_> = recipes
        .into_iter()
        .map(|recipe| {
            let info = gguf.tensor(&recipe.name).or_else(|| gguf.tensor("token_embd.weight"));
            let Some(info) = info else { return plan(recipe, gguf::GgmlType::F16) };
            let Some(out_type) = options.out_type else {
                let is_changed = changed.contains(&recipe.name);
                let copied = (!is_changed).then(|| Copied { gguf: Arc::clone(&gguf), tensor: info.clone() });
                return Planned { ggml_type: info.ggml_type, copied, recipe };
            };
            plan(recipe, out_type.ggml_type())
        })
        .collect();
    if let Some(file_type) = options.out_type.and_then(|t| general::file_type(t.ggml_type())) {
        metadata.insert("general.file_type", gguf::Value::Uint(file_type));
    }
    let not_served = folder::check(&metadata, &planned)?;
    let ggml_type = most_common_type(&planned);
    let paths = stream::write(out, &metadata, &planned, &options.writer, progress)?;
    Ok(Converted { paths, arch, ggml_type, not_served })
}

/// The type of most weights.
fn most_common_type(planned: &[Planned]) -> gguf::GgmlType {
    let mut counts: HashMap<gguf::GgmlType, usize> = HashMap::new();
    for tensor in planned {
        *counts.entry(tensor.ggml_type).or_default() += tensor.recipe.shape.iter().product::<usize>();
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(gguf::GgmlType::F32, |(ggml_type, _)| ggml_type)
}

/// Changes the recipes of a model.
fn apply(adapter: &Path, changes: Vec<Change>, recipes: &mut Vec<Recipe>) -> Result<(), ConvertError> {
    if changes.is_empty() {
        return Err(ConvertError::invalid(adapter, "changes nothing: it has no tensors"));
    }
    for Change { name, effect } in changes {
        let idx = recipes.iter().position(|r| r.name == name);
        // An output that is tied to the embedding becomes a matrix of its own when it changes alone.
        let base =
            idx.or_else(|| recipes.iter().position(|r| r.name == "token_embd.weight" && name == "output.weight"));
        let Some(base) = base.map(|i| &recipes[i]) else {
            return Err(ConvertError::invalid(adapter, format!("changes `{name}`, which the base does not have")));
        };
        let changed = changed(adapter, &name, base, effect)?;
        match idx {
            Some(idx) => recipes[idx] = changed,
            None => recipes.push(changed),
        }
    }
    Ok(())
}

fn changed(adapter: &Path, name: &str, base: &Recipe, effect: Effect) -> Result<Recipe, ConvertError> {
    let (delta, magnitude) = match effect {
        Effect::Replace(recipe) => return same_shape(adapter, name, base, recipe),
        Effect::Add(delta) => (delta, None),
        Effect::AddAndScale { delta, magnitude } => {
            let values = magnitude.parts.first().map(|p| p.tensor.values()).transpose()?.unwrap_or_default();
            if values.len() != delta.num_rows() {
                let what = format!("has {} magnitudes for the {} rows of `{name}`", values.len(), delta.num_rows());
                return Err(ConvertError::invalid(adapter, what));
            }
            (delta, Some(values))
        }
    };
    let delta = same_shape(adapter, name, base, delta)?;
    let shape = base.shape.clone();
    let sum = Sum { base: base.clone(), delta, magnitude };
    Ok(Recipe { forced: base.forced, ..Recipe::rename(name.to_owned(), Tensor::new(name, shape, sum)) })
}

fn same_shape(adapter: &Path, name: &str, base: &Recipe, recipe: Recipe) -> Result<Recipe, ConvertError> {
    if recipe.shape == base.shape {
        return Ok(recipe);
    }
    let what = format!(
        "changes `{name}` by a tensor of shape {:?}, but the base's has {:?}: it was trained for another base",
        recipe.shape, base.shape
    );
    Err(ConvertError::invalid(adapter, what))
}

/// `base + delta`; with magnitudes each row then gets the length that DoRA learned for it
/// (<https://arxiv.org/abs/2402.09353>).
struct Sum {
    base: Recipe,
    delta: Recipe,
    magnitude: Option<Vec<f32>>,
}

impl Rows for Sum {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        self.base.read(first_row, out)?;
        let mut delta = vec![0.0; out.len()];
        self.delta.read(first_row, &mut delta)?;
        out.iter_mut().zip(&delta).for_each(|(x, d)| *x += d);
        if let Some(magnitude) = &self.magnitude {
            let rows = out.chunks_exact_mut(self.base.num_cols().max(1));
            for (row, magnitude) in rows.zip(&magnitude[first_row..]) {
                let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let factor = (f64::from(*magnitude) / length) as f32;
                row.iter_mut().for_each(|x| *x *= factor);
            }
        }
        Ok(())
    }
}
