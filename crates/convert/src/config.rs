//! A model's `config.json`, with the defaults that its architecture lets it leave out.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{ConvertError, json::Json};

/// Of layers, heads, and numbers in a head.
const MAX_SIZE: usize = 1 << 16;

/// The hyperparameters of a text model.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) json: Json,
    /// Of the rotary embedding: `rope_parameters`, or the older `rope_scaling` with `rope_theta`.
    pub(crate) rope: Json,
}

impl Config {
    /// Reads the file of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Json, ConvertError> {
        let path = folder.join("config.json");
        if !path.is_file() {
            return Err(missing(folder));
        }
        Json::read(&path)
    }

    /// The class of the model, e.g. `LlamaForCausalLM`.
    pub(crate) fn architecture(json: &Json) -> Result<&str, ConvertError> {
        let first = json.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
        first.ok_or_else(|| json.wrong("architectures", "a list with the model's class"))
    }

    /// Moves `text_config` to the top and adds `defaults`, a JSON object.
    pub(crate) fn new(mut json: Json, defaults: &str) -> Result<Self, ConvertError> {
        let text = json.value.get("text_config").and_then(Value::as_object).cloned().unwrap_or_default();
        let defaults: Map<String, Value> = serde_json::from_str(defaults)
            .map_err(|e| ConvertError::Unsupported(format!("the defaults of this architecture: {e}")))?;
        if let Some(object) = json.value.as_object_mut() {
            object.extend(text);
            for (key, value) in defaults {
                object.entry(key).or_insert(value);
            }
        }
        let rope = rope(&json);
        Ok(Self { json, rope })
    }

    /// The first of these keys that is there, as a size.
    pub(crate) fn first_size(&self, keys: &[&str]) -> Result<Option<usize>, ConvertError> {
        keys.iter().find(|k| self.json.get(k).is_some()).map_or(Ok(None), |k| self.json.size(k))
    }

    /// The same as a number.
    pub(crate) fn first_float(&self, keys: &[&str]) -> Result<Option<f64>, ConvertError> {
        keys.iter().find(|k| self.json.get(k).is_some()).map_or(Ok(None), |k| self.json.float(k))
    }

    /// The same of a size that must be there.
    pub(crate) fn require_size(&self, keys: &[&str]) -> Result<usize, ConvertError> {
        self.first_size(keys)?
            .ok_or_else(|| ConvertError::invalid(&self.json.path, format!("`{}` is missing", keys.join("` or `"))))
    }

    pub(crate) fn num_layers(&self) -> Result<usize, ConvertError> {
        let size = self.require_size(&["n_layers", "num_hidden_layers", "n_layer", "num_layers"])?;
        self.bounded("layers", size)
    }

    pub(crate) fn num_heads(&self) -> Result<usize, ConvertError> {
        self.bounded("heads", self.require_size(&["num_attention_heads", "n_head", "n_heads"])?)
    }

    pub(crate) fn num_kv_heads(&self) -> Result<usize, ConvertError> {
        let keys = ["num_key_value_heads", "n_kv_heads", "num_kv_heads", "n_head_kv"];
        self.first_size(&keys)?.map_or_else(|| self.num_heads(), |size| self.bounded("heads of keys", size))
    }

    /// Lists are made of these sizes, so that no file may choose them freely.
    fn bounded(&self, what: &str, size: usize) -> Result<usize, ConvertError> {
        if size <= MAX_SIZE {
            return Ok(size);
        }
        Err(ConvertError::invalid(&self.json.path, format!("has {size} {what}; at most {MAX_SIZE} are allowed")))
    }

    pub(crate) fn hidden_size(&self) -> Result<usize, ConvertError> {
        self.require_size(&["hidden_size", "n_embd", "dim"])
    }

    pub(crate) fn head_dim(&self) -> Result<usize, ConvertError> {
        let (hidden_size, num_heads) = (self.hidden_size()?, self.num_heads()?);
        let head_dim = self.json.size("head_dim")?.or_else(|| hidden_size.checked_div(num_heads));
        let head_dim = head_dim.ok_or_else(|| self.json.wrong("num_attention_heads", "a positive number"))?;
        self.bounded("numbers in a head", head_dim)
    }

    /// Where positions begin in tables that keep rows for padding: behind the padding's own id.
    pub(crate) fn first_position(&self) -> usize {
        self.json.get("pad_token_id").and_then(Value::as_u64).map_or(0, |id| (id as usize).saturating_add(1))
    }

    /// Which layers see a window only, where the file says so: by a list, or by a pattern such as `LLLG` or 4.
    pub(crate) fn sliding_layers(&self) -> Result<Option<Vec<bool>>, ConvertError> {
        let num_layers = self.num_layers()?;
        if let Some(types) = self.json.get("layer_types").and_then(Value::as_array) {
            if types.len() != num_layers {
                return Err(self.json.wrong("layer_types", "a name for each layer"));
            }
            return Ok(Some(types.iter().map(|t| t.as_str() == Some("sliding_attention")).collect()));
        }
        let Some(pattern) = self.json.get("sliding_window_pattern") else { return Ok(None) };
        let sliding: Option<Vec<bool>> = match (pattern.as_str(), pattern.as_u64()) {
            (Some(letters), _) => Some(letters.bytes().map(|b| b == b'L').cycle().take(num_layers).collect())
                .filter(|_| !letters.is_empty()),
            (_, Some(n)) if n > 0 => Some((1..=num_layers as u64).map(|layer| layer % n != 0).collect()),
            _ => None,
        };
        sliding.map(Some).ok_or_else(|| self.json.wrong("sliding_window_pattern", "letters or a positive number"))
    }
}

/// Rotary parameters, of full attention where layers differ; `sliding_attention` keeps its own object.
fn rope(json: &Json) -> Json {
    let given = json.get("rope_parameters").or_else(|| json.get("rope_scaling"));
    let mut rope = given.and_then(Value::as_object).cloned().unwrap_or_default();
    let sliding = rope.remove("sliding_attention");
    if let Some(Value::Object(full)) = rope.remove("full_attention") {
        rope.extend(full);
    }
    let mirrored = [
        ("rope_theta", &["global_rope_theta", "rope_theta", "rotary_emb_base"][..]),
        ("partial_rotary_factor", &["partial_rotary_factor", "rope_pct", "rotary_pct"]),
        ("original_max_position_embeddings", &["original_max_position_embeddings"]),
    ];
    for (key, sources) in mirrored {
        if let Some(value) = sources.iter().find_map(|s| json.get(s)) {
            rope.entry(key).or_insert_with(|| value.clone());
        }
    }
    if let Some(kind) = rope.get("type").cloned() {
        rope.entry("rope_type").or_insert(kind);
    }
    let local = json.get("rope_local_base_freq").map(|theta| serde_json::json!({ "rope_theta": theta }));
    if let Some(sliding) = sliding.or(local) {
        rope.insert("sliding_attention".to_owned(), sliding);
    }
    Json { path: json.path.clone(), value: Value::Object(rope) }
}

fn missing(folder: &Path) -> ConvertError {
    match Json::read_optional(&folder.join("adapter_config.json")) {
        Ok(None) => ConvertError::invalid(folder, "has no config.json: give the folder of a Hugging Face model"),
        Ok(Some(adapter)) => {
            let base = adapter.get("base_model_name_or_path").and_then(Value::as_str);
            let base = base.map_or_else(String::new, |base| format!(", `{base}`"));
            let what = format!(
                "is a LoRA adapter without its base{base}: get the base and use `llcuda merge-lora BASE ADAPTER -o OUT`, or \
                 `llcuda convert --lora --base BASE`"
            );
            ConvertError::invalid(folder, what)
        }
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Config;
    use crate::json::Json;

    fn sliding_layers(value: Value) -> Option<Vec<bool>> {
        let config = Config::new(Json { path: "config.json".into(), value }, r#"{"num_hidden_layers": 4}"#);
        config.and_then(|c| c.sliding_layers()).expect("a pattern that is known")
    }

    #[test]
    fn windows_are_given_by_a_list_or_a_pattern() {
        let expected = Some(vec![true, true, true, false]);
        let (slides, full) = ("sliding_attention", "full_attention");
        assert_eq!(sliding_layers(json!({ "layer_types": [slides, slides, slides, full] })), expected);
        assert_eq!(sliding_layers(json!({ "sliding_window_pattern": "LLLG" })), expected);
        assert_eq!(sliding_layers(json!({ "sliding_window_pattern": 4 })), expected);
        assert_eq!(sliding_layers(json!({})), None);
        for wrong in [json!({ "layer_types": [full] }), json!({ "sliding_window_pattern": 0 })] {
            let config = Config::new(Json { path: "config.json".into(), value: wrong }, r#"{"num_hidden_layers": 4}"#);
            assert!(config.and_then(|c| c.sliding_layers()).is_err());
        }
    }
}
