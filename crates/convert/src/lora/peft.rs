//! Adapters that PEFT saved: `adapter_config.json` and `adapter_model.safetensors`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde_json::Value;

use super::{Change, Effect, low_rank::LowRank};
use crate::{
    ConvertError,
    arch::{Family, Heads},
    json::Json,
    recipe::Recipe,
    safetensors::open_file,
    tensor::Tensor,
};

/// Ways to begin training that change the base's weights, which the adapter alone does not undo.
const CHANGES_BASE: &[&str] = &["pissa", "olora", "corda", "loftq"];
/// What would change the merge in a way that is not known here.
const UNSUPPORTED: &[&str] = &[
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
];
const PREFIX: &str = "base_model.model.";

/// An adapter's parts by the name of the module they change, e.g. `model.layers.0.self_attn.q_proj`.
pub(super) struct Adapter {
    path: PathBuf,
    pub(super) config: Json,
    pub(super) modules: BTreeMap<String, Module>,
    /// Whole tensors that were trained too, by their own names.
    replaced: Vec<Tensor>,
}

#[derive(Default)]
pub(super) struct Module {
    pub(super) a: Option<Tensor>,
    pub(super) b: Option<Tensor>,
    magnitude: Option<Tensor>,
    /// The weight is stored with inputs first: an embedding.
    pub(super) is_embedding: bool,
}

impl Adapter {
    /// Reads a folder.
    pub(super) fn read(path: &Path) -> Result<Self, ConvertError> {
        let config_path = path.join("adapter_config.json");
        if !config_path.is_file() {
            return Err(ConvertError::invalid(path, "has no adapter_config.json: it is no LoRA adapter"));
        }
        let config = Json::read(&config_path)?;
        check(&config)?;
        let mut adapter = Self { path: path.to_owned(), config, modules: BTreeMap::new(), replaced: Vec::new() };
        for stored in open_file(&path.join("adapter_model.safetensors"))? {
            adapter.take(Tensor::from(stored))?;
        }
        Ok(adapter)
    }

    fn take(&mut self, tensor: Tensor) -> Result<(), ConvertError> {
        let full_name = tensor.name.clone();
        let name = full_name.strip_prefix(PREFIX).unwrap_or(&full_name);
        // Unsloth's adapters of models with vision have one more `model.`; names without a place are refused later.
        if name.contains(".base_layer.") {
            return Ok(());
        }
        let parts = [".lora_A", ".lora_B", ".lora_embedding_A", ".lora_embedding_B", ".lora_magnitude_vector"];
        let found = parts.iter().find_map(|part| name.split_once(part).map(|(module, rest)| (*part, module, rest)));
        let Some((part, module, rest)) = found else {
            if name.contains("lora_") {
                return Err(tensor.error("is a part of a LoRA adapter that is not known"));
            }
            let name = name.replace(".modules_to_save.default", "").replace(".modules_to_save", "");
            self.replaced.push(Tensor { name, ..tensor });
            return Ok(());
        };
        if !matches!(rest, "" | ".weight" | ".default" | ".default.weight") {
            return Err(tensor.error("is a part of a LoRA adapter that is not known (biases of factors are not)"));
        }
        let entry = self.modules.entry(module.to_owned()).or_default();
        entry.is_embedding |= part.contains("embedding");
        match part {
            ".lora_A" | ".lora_embedding_A" => entry.a = Some(tensor),
            ".lora_B" | ".lora_embedding_B" => entry.b = Some(tensor),
            _ => entry.magnitude = Some(tensor),
        }
        Ok(())
    }

    /// What it changes in a model of this family.
    pub(super) fn changes(&self, family: &Family, heads: &Heads, scale: f32) -> Result<Vec<Change>, ConvertError> {
        let (mut deltas, mut magnitudes) = (Vec::new(), Vec::new());
        for (module, parts) in &self.modules {
            let mut product = self.product(module, parts)?;
            product.scale = scale * self.scaling(module, product.rank)?;
            deltas.push(product.into_tensor(&format!("{module}.weight")));
            if let Some(magnitude) = &parts.magnitude {
                let values = magnitude.values()?;
                // As a bias it is reordered like the rows.
                magnitudes.push(Tensor::of_values(&format!("{module}.bias"), vec![values.len()], values));
            }
        }
        let wrap = |error| match error {
            ConvertError::Tensor { name, .. } if name.contains(".experts.") => ConvertError::invalid(
                &self.path,
                format!(
                    "changes `{name}`, one expert among others; it must change every expert of a layer, all from 0 on, or none"
                ),
            ),
            ConvertError::Tensor { name, what } => ConvertError::invalid(
                &self.path,
                format!("changes `{name}`, which {what}: it was trained for another base"),
            ),
            other => other,
        };
        let mut magnitudes: BTreeMap<String, Recipe> =
            by_name(family.recipes(heads, magnitudes.into_iter()).map_err(wrap)?);
        let deltas = family.recipes(heads, deltas.into_iter()).map_err(wrap)?;
        let mut changes: Vec<_> = deltas
            .into_iter()
            .map(|delta| {
                let name = delta.name.clone();
                let effect = match magnitudes.remove(&name.replace(".weight", ".bias")) {
                    Some(magnitude) => Effect::AddAndScale { delta, magnitude },
                    None => Effect::Add(delta),
                };
                Change { name, effect }
            })
            .collect();
        let replaced = family.recipes(heads, self.replaced.iter().cloned()).map_err(wrap)?;
        changes.extend(replaced.into_iter().map(|r| Change { name: r.name.clone(), effect: Effect::Replace(r) }));
        Ok(changes)
    }

    /// The product that a module adds, with outputs first.
    pub(super) fn product(&self, module: &str, parts: &Module) -> Result<LowRank, ConvertError> {
        let (Some(a), Some(b)) = (&parts.a, &parts.b) else {
            return Err(ConvertError::invalid(&self.path, format!("has only one of the two factors of `{module}`")));
        };
        let product = LowRank::new(module, a, b)?;
        let is_transposed = parts.is_embedding || self.config.bool("fan_in_fan_out")?.unwrap_or(false);
        if is_transposed && parts.magnitude.is_some() {
            return Err(ConvertError::Unsupported(format!("DoRA of `{module}`, which is stored with inputs first")));
        }
        Ok(if is_transposed { product.transposed() } else { product })
    }

    /// `alpha / rank`, or `alpha / sqrt(rank)` of rank-stabilized LoRA, with the module's own alpha.
    pub(super) fn scaling(&self, module: &str, rank: usize) -> Result<f32, ConvertError> {
        let mut alpha = self.config.require("lora_alpha", self.config.float("lora_alpha"))?;
        let patterns = self.config.get("alpha_pattern").and_then(Value::as_object);
        for (pattern, value) in patterns.into_iter().flatten() {
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let regex = regex.map_err(|_| self.config.wrong("alpha_pattern", "regular expressions as keys"))?;
            if regex.is_match(module) {
                alpha = value.as_f64().ok_or_else(|| self.config.wrong("alpha_pattern", "numbers as values"))?;
                break;
            }
        }
        let rank = rank as f64;
        let is_stabilized = self.config.bool("use_rslora")?.unwrap_or(false);
        Ok((alpha / if is_stabilized { rank.sqrt() } else { rank }) as f32)
    }
}

/// Refuses adapters of kinds that would be merged wrongly.
fn check(config: &Json) -> Result<(), ConvertError> {
    if config.str("peft_type")? != Some("LORA") {
        return Err(config.wrong("peft_type", "`LORA`"));
    }
    let start = config.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    if CHANGES_BASE.iter().any(|kind| start.starts_with(kind)) {
        return Err(config.wrong("init_lora_weights", "a start that leaves the base as it is: save it as plain LoRA"));
    }
    for key in UNSUPPORTED {
        let is_empty = |v: &Value| *v == Value::Bool(false) || v.as_array().is_some_and(Vec::is_empty);
        if config.get(key).is_some_and(|v| !is_empty(v)) {
            return Err(config.wrong(key, "nothing: it is not supported"));
        }
    }
    Ok(())
}

fn by_name(recipes: Vec<Recipe>) -> BTreeMap<String, Recipe> {
    recipes.into_iter().map(|r| (r.name.clone(), r)).collect()
}
