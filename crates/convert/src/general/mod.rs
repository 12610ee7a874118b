//! Metadata about the model as a whole: `general.*`.

mod card;
mod model_id;

use std::path::Path;

use gguf::{Array, GgmlType, Metadata, Value};
use serde_json::Value as JsonValue;

use crate::{ConvertError, json::Json, keys::float, recipe::Recipe};
use card::Card;
use model_id::ModelId;

/// Version of the block formats, `general.quantization_version`.
const QUANTIZATION_VERSION: u64 = 2;

/// Writes the keys that do not depend on the architecture.
pub(crate) fn set(
    (folder, name): (&Path, Option<&str>),
    config: &Json,
    recipes: &[Recipe],
    metadata: &mut Metadata,
) -> Result<(), ConvertError> {
    let count = ParameterCount::of(recipes);
    set_about("model", (folder, name), config, &count, metadata)?;
    set_sampling(folder, metadata)
}

/// The same of an adapter.
pub(crate) fn set_adapter(folder: &Path, config: &Json, metadata: &mut Metadata) -> Result<(), ConvertError> {
    set_about("adapter", (folder, None), config, &ParameterCount::default(), metadata)
}

fn set_about(
    kind: &str,
    (folder, name): (&Path, Option<&str>),
    config: &Json,
    count: &ParameterCount,
    metadata: &mut Metadata,
) -> Result<(), ConvertError> {
    let card = Card::read(folder)?;
    let folder_name = folder.canonicalize().ok().and_then(|f| Some(f.file_name()?.to_string_lossy().into_owned()));
    let path = config.get("_name_or_path").and_then(JsonValue::as_str).filter(|p| p.matches('/').count() <= 1);
    let ids = [path, name.or(folder_name.as_deref())]
        .map(|id| id.map(|id| ModelId::parse(id, count.total)).unwrap_or_default());
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            metadata.insert(format!("general.{key}"), Value::String(value));
        }
    };
    let first = |of: fn(&ModelId) -> &Option<String>| ids.iter().find_map(|id| of(id).clone());
    set("type", Some(kind.to_owned()));
    set("name", card.text("model_name").or_else(|| first(|id| &id.name)));
    set("author", card.text("model_creator"));
    set("organization", first(|id| &id.organization));
    set("basename", card.text("model_type").or_else(|| first(|id| &id.basename)));
    set("finetune", first(|id| &id.finetune));
    set("version", first(|id| &id.version));
    set("size_label", first(|id| &id.size_label).or_else(|| count.label()));
    set("license", card.joined("license"));
    set("license.name", card.text("license_name"));
    set("license.link", card.text("license_link"));
    set_lists(&card, metadata);
    set_base_models(&card, count.total, metadata);
    metadata.insert("general.quantization_version", Value::Uint(QUANTIZATION_VERSION));
    Ok(())
}

/// The id of a file that is mostly of this type, `general.file_type`.
pub(crate) fn file_type(ggml_type: GgmlType) -> Option<u64> {
    Some(match ggml_type {
        GgmlType::F32 => 0,
        GgmlType::F16 => 1,
        GgmlType::Q4_0 => 2,
        GgmlType::Q4_1 => 3,
        GgmlType::Q8_0 => 7,
        GgmlType::Q5_0 => 8,
        GgmlType::Q5_1 => 9,
        GgmlType::BF16 => 32,
        _ => return None,
    })
}

fn set_lists(card: &Card, metadata: &mut Metadata) {
    let tags = [card.list("tags"), card.list("pipeline_tag")].concat();
    let languages = [card.list("languages"), card.list("language")].concat();
    for (key, list) in [("general.tags", tags), ("general.languages", languages)] {
        if !list.is_empty() {
            metadata.insert(key, Value::Array(Array::String(list.into())));
        }
    }
}

/// What a model was made from.
fn set_base_models(card: &Card, total: u64, metadata: &mut Metadata) {
    for (kind, list) in [("base_model", card.list("base_model")), ("dataset", card.list("datasets"))] {
        if list.is_empty() {
            continue;
        }
        metadata.insert(format!("general.{kind}.count"), Value::Uint(list.len() as u64));
        for (idx, id) in list.iter().enumerate() {
            let parsed = ModelId::parse(id, total);
            let repo_url = (parsed.organization.is_some()).then(|| format!("https://huggingface.co/{id}"));
            let values = [
                ("name", parsed.name),
                ("organization", parsed.organization),
                ("version", parsed.version),
                ("repo_url", repo_url),
            ];
            for (key, value) in values {
                if let Some(value) = value {
                    metadata.insert(format!("general.{kind}.{idx}.{key}"), Value::String(value));
                }
            }
        }
    }
}

/// The sampling that the model's makers recommend.
fn set_sampling(folder: &Path, metadata: &mut Metadata) -> Result<(), ConvertError> {
    let Some(config) = Json::read_optional(&folder.join("generation_config.json"))? else { return Ok(()) };
    if let Some(k) = config.uint("top_k")? {
        metadata.insert("general.sampling.top_k", Value::Int(k as i64));
    }
    let keys =
        [("top_p", "top_p"), ("min_p", "min_p"), ("temp", "temperature"), ("penalty_repeat", "repetition_penalty")];
    for (key, from) in keys {
        if let Some(x) = config.float(from)? {
            metadata.insert(format!("general.sampling.{key}"), float(x));
        }
    }
    Ok(())
}

/// How many weights a model has.
#[derive(Debug, Default)]
struct ParameterCount {
    total: u64,
    /// Outside experts, and in one expert of each layer.
    of_one_expert: u64,
    num_experts: u64,
}

impl ParameterCount {
    fn of(recipes: &[Recipe]) -> Self {
        let mut count = Self::default();
        let (mut expert_sum, mut num_expert_tensors) = (0, 0_u64);
        for recipe in recipes {
            let size = recipe.shape.iter().product::<usize>() as u64;
            let is_stack = recipe.name.contains("_exps.") && recipe.shape.len() >= 3;
            let num_experts = if is_stack { recipe.shape[0] as u64 } else { 1 };
            count.total += size;
            count.of_one_expert += size / num_experts.max(1);
            if is_stack {
                (expert_sum, num_expert_tensors) = (expert_sum + num_experts, num_expert_tensors + 1);
            }
        }
        count.num_experts = expert_sum.checked_div(num_expert_tensors).unwrap_or(0);
        count
    }

    /// E.g. `1.7B` or `8x7B`.
    fn label(&self) -> Option<String> {
        match (self.total, self.num_experts) {
            (0, _) => None,
            (total, 0) => Some(rounded(total)),
            (_, experts) => Some(format!("{experts}x{}", rounded(self.of_one_expert))),
        }
    }
}

/// A count with two digits at least.
fn rounded(count: u64) -> String {
    let (unit, suffix) = match count {
        n if n > 1_000_000_000_000 => (1e12, "T"),
        n if n > 1_000_000_000 => (1e9, "B"),
        n if n > 1_000_000 => (1e6, "M"),
        _ => (1e3, "K"),
    };
    let scaled = count as f64 / unit;
    let whole = scaled.round_ties_even();
    let num_digits = if whole == 0.0 { 0 } else { format!("{whole}").len() };
    format!("{scaled:.*}{suffix}", 2_usize.saturating_sub(num_digits))
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn counts_are_written_with_two_digits() {
        let cases = [(1_235_814_400, "1.2B"), (29_952, "30K"), (999, "1.0K"), (400, "0.40K"), (70_553_706_496, "71B")];
        for (count, expected) in cases {
            assert_eq!(rounded(count), expected);
        }
    }
}
