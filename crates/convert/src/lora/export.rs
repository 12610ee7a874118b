//! Converts a PEFT adapter to a GGUF adapter, which is applied while serving.

use std::path::Path;

use gguf::{GgmlType, Metadata, Value};

use super::peft::Adapter;
use crate::{
    ConvertError, ConvertOptions, Converted, OutType,
    arch::{Family, Heads},
    config::Config,
    general,
    keys::float,
    recipe::Recipe,
    stream::{self, Planned, Progress},
    tensor::Tensor,
};

/// Converts an adapter; `base` is the folder of its base, of which only config.json is read.
///
/// # Errors
/// [`ConvertError`] when the adapter is one that GGUF cannot hold, or when the result cannot be written.
pub fn convert_lora(
    adapter: &Path,
    base: &Path,
    out: &Path,
    options: &ConvertOptions,
    progress: Progress<'_>,
) -> Result<Converted, ConvertError> {
    let json = Config::read(base)?;
    let family = Family::of_class(Config::architecture(&json)?)?;
    let config = Config::new(json, family.defaults)?;
    let heads = Heads::of_config(&config)?;
    let adapter_path = adapter;
    let adapter = Adapter::read(adapter_path)?;
    let ggml_type = options.out_type.unwrap_or(OutType::F16).ggml_type();
    let alpha = adapter.config.require("lora_alpha", adapter.config.float("lora_alpha"))?;
    let recipes = factors(&adapter, alpha as f32, family, &heads)?;
    let mut metadata = Metadata::default();
    let arch = family.arch;
    metadata.insert("general.architecture", Value::String(arch.to_owned()));
    general::set_adapter(adapter_path, &config.json, &mut metadata)?;
    metadata.insert("adapter.type", Value::String("lora".to_owned()));
    metadata.insert("adapter.lora.alpha", float(alpha));
    let planned: Vec<_> = recipes
        .into_iter()
        .map(|recipe| {
            let fits = recipe.num_cols().is_multiple_of(ggml_type.block_len());
            Planned { ggml_type: if fits { ggml_type } else { GgmlType::F16 }, recipe, copied: None }
        })
        .collect();
    let paths = stream::write(out, &metadata, &planned, &options.writer, progress)?;
    Ok(Converted { paths, arch: arch.to_owned(), ggml_type, not_served: None })
}

/// Both factors of every module under their GGUF names; the second one's rows are reordered as the weight's.
fn factors(adapter: &Adapter, alpha: f32, family: &Family, heads: &Heads) -> Result<Vec<Recipe>, ConvertError> {
    if adapter.config.bool("use_dora")?.unwrap_or(false) {
        return Err(adapter.config.wrong("use_dora", "false: an adapter in GGUF has no magnitudes; use merge-lora"));
    }
    if adapter.config.bool("fan_in_fan_out")?.unwrap_or(false) {
        return Err(adapter.config.wrong("fan_in_fan_out", "false; use merge-lora"));
    }
    let mut recipes = Vec::new();
    for (module, parts) in &adapter.modules {
        let mut product = adapter.product(module, parts)?;
        // Readers multiply by alpha / rank; what a module has beyond that goes into its second factor.
        let ratio = adapter.scaling(module, product.rank)? / (alpha / product.rank as f32);
        if ratio != 1.0 {
            product.b.iter_mut().for_each(|x| *x *= ratio);
        }
        let b =
            Tensor::of_values(&format!("{module}.weight"), vec![product.num_rows(), product.rank], product.b.clone());
        let [b]: [Recipe; 1] = family
            .recipes(heads, std::iter::once(b))?
            .try_into()
            .map_err(|_| ConvertError::Unsupported(format!("`{module}` is several tensors in GGUF; use merge-lora")))?;
        let mut a = Tensor::of_values(module, vec![product.rank, product.num_cols()], product.a);
        let name = b.name.clone();
        let mut b = Recipe { name: format!("{name}.lora_b"), ..b };
        if parts.is_embedding {
            // The format wants the factors of an embedding as PEFT has them, the first one transposed.
            let (first, second) = (b.parts[0].tensor.clone(), a.transposed()?);
            a = first;
            b = Recipe::rename(b.name, second);
        }
        recipes.push(Recipe::rename(format!("{name}.lora_a"), a));
        recipes.push(b);
    }
    recipes.sort_by_cached_key(|r| (crate::folder::place(&r.name), r.name.clone()));
    Ok(recipes)
}
