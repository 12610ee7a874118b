//! JSON files of bounded size, with lookups that name the file and the key in their errors.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::ConvertError;

/// A vocabulary of 262144 tokens with its merges takes some 35 MB.
const MAX_JSON_BYTES: u64 = 256 << 20;

/// A JSON object and the file it came from.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    pub(crate) path: PathBuf,
    pub(crate) value: Value,
}

impl Json {
    /// Reads a file that must be there.
    pub(crate) fn read(path: &Path) -> Result<Self, ConvertError> {
        let value = serde_json::from_slice(&read_bounded(path)?)
            .map_err(|e| ConvertError::invalid(path, format!("not valid JSON: {e}")))?;
        let this = Self { path: path.to_owned(), value };
        if !this.value.is_object() {
            return Err(ConvertError::invalid(path, "is not a JSON object"));
        }
        Ok(this)
    }

    /// Reads a file that may be missing.
    pub(crate) fn read_optional(path: &Path) -> Result<Option<Self>, ConvertError> {
        if path.is_file() { Self::read(path).map(Some) } else { Ok(None) }
    }

    /// The value of a key; `null` counts as missing.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    pub(crate) fn uint(&self, key: &str) -> Result<Option<u64>, ConvertError> {
        self.typed(key, "a non-negative integer", Value::as_u64)
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ConvertError> {
        Ok(self.uint(key)?.map(|n| n as usize))
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>, ConvertError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, ConvertError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>, ConvertError> {
        self.typed(key, "a string", Value::as_str)
    }

    /// A value that must be there: turns the `None` of a lookup into an error.
    pub(crate) fn require<T>(&self, key: &str, found: Result<Option<T>, ConvertError>) -> Result<T, ConvertError> {
        found?.ok_or_else(|| ConvertError::invalid(&self.path, format!("`{key}` is missing")))
    }

    pub(crate) fn require_size(&self, key: &str) -> Result<usize, ConvertError> {
        self.require(key, self.size(key))
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str) -> ConvertError {
        let found = self.get(key).map_or_else(|| "missing".to_owned(), ToString::to_string);
        ConvertError::invalid(&self.path, format!("`{key}` is {found}; expected {expected}"))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConvertError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => convert(value).map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }
}

/// Reads a whole file that is not absurdly large.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, ConvertError> {
    let size = fs::metadata(path).map_err(ConvertError::io(path))?.len();
    if size > MAX_JSON_BYTES {
        return Err(ConvertError::invalid(path, format!("has {size} bytes; at most {MAX_JSON_BYTES} are read")));
    }
    fs::read(path).map_err(ConvertError::io(path))
}

/// The same as text.
pub(crate) fn read_text(path: &Path) -> Result<String, ConvertError> {
    String::from_utf8(read_bounded(path)?).map_err(|e| ConvertError::invalid(path, format!("is not UTF-8: {e}")))
}
