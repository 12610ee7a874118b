//! How a sentence-transformers folder makes one embedding of those of a text's tokens: `modules.json` and the pooling's own
//! `config.json`.

use std::path::Path;

use gguf::{Metadata, Value};
use serde_json::Value as JsonValue;

use crate::{
    ConvertError,
    json::{Json, read_bounded},
};

/// The ways of pooling that readers of the format know: older key, newer name, number.
const MODES: &[(&str, &str, u64)] = &[
    ("pooling_mode_mean_tokens", "mean", 1),
    ("pooling_mode_cls_token", "cls", 2),
    ("pooling_mode_lasttoken", "lasttoken", 3),
];

/// Writes the pooling of the folder, if it has one.
pub(crate) fn set(folder: &Path, arch: &str, metadata: &mut Metadata) -> Result<(), ConvertError> {
    let path = folder.join("modules.json");
    if !path.is_file() {
        return Ok(());
    }
    let modules: Vec<JsonValue> = serde_json::from_slice(&read_bounded(&path)?)
        .map_err(|e| ConvertError::invalid(&path, format!("is no list of modules: {e}")))?;
    for module in &modules {
        let text = |key: &str| module.get(key).and_then(JsonValue::as_str).unwrap_or_default();
        match text("type").rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let config = Json::read(&folder.join(plain(&path, text("path"))?).join("config.json"))?;
                metadata.insert(format!("{arch}.pooling_type"), Value::Uint(mode(&config)?));
            }
            other => {
                let what = format!("has a module of type `{other}`; transformers, pooling and normalization are read");
                return Err(ConvertError::invalid(&path, what));
            }
        }
    }
    Ok(())
}

/// The name of a module's folder, which must not lead elsewhere.
fn plain<'a>(path: &Path, name: &'a str) -> Result<&'a str, ConvertError> {
    match Path::new(name).file_name() {
        Some(file_name) if file_name == name => Ok(name),
        _ => Err(ConvertError::invalid(path, format!("has the module folder `{name}`; expected a name"))),
    }
}

fn mode(config: &Json) -> Result<u64, ConvertError> {
    let named = config.str("pooling_mode")?;
    for (key, name, number) in MODES {
        if config.bool(key)? == Some(true) || named == Some(name) {
            return Ok(*number);
        }
    }
    Err(config.wrong("pooling_mode", "`mean`, `cls` or `lasttoken`"))
}
