//! Metadata lookups under the prefix of an architecture.

use gguf::{Array, GgufError, Metadata, Value};

use crate::ModelError;

/// The metadata of a model with its architecture's prefix: `keys.uint("block_count")` reads `llama.block_count`.
pub(crate) struct Keys<'a> {
    pub(crate) metadata: &'a Metadata,
    pub(crate) arch: &'static str,
}

impl Keys<'_> {
    pub(crate) fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.arch)
    }

    /// A size from 1 to `max`; `Ok(None)` when the key is absent.
    pub(crate) fn size(&self, suffix: &str, max: usize) -> Result<Option<usize>, ModelError> {
        let key = self.key(suffix);
        match self.metadata.uint(&key)? {
            None => Ok(None),
            Some(n) if (1..=max as u64).contains(&n) => Ok(Some(n as usize)),
            Some(n) => Err(GgufError::invalid(key, n, format!("1 to {max}")).into()),
        }
    }

    /// A size of each layer: one for all or an array.
    pub(crate) fn layer_sizes(&self, suffix: &str, max: usize, num_layers: usize) -> Result<Vec<usize>, ModelError> {
        let key = self.key(suffix);
        let sizes = self.metadata.require(&key, self.metadata.uints(&key))?;
        if let Some(size) = sizes.iter().find(|size| !(1..=max as u64).contains(size)) {
            return Err(GgufError::invalid(key, size, format!("1 to {max}")).into());
        }
        match sizes.len() {
            1 => Ok(vec![sizes[0] as usize; num_layers]),
            n if n == num_layers => Ok(sizes.into_iter().map(|size| size as usize).collect()),
            n => Err(GgufError::invalid(key, format!("an array of {n}"), format!("one of {num_layers} layers")).into()),
        }
    }

    /// A size that must be there.
    pub(crate) fn require_size(&self, suffix: &str, max: usize) -> Result<usize, ModelError> {
        self.size(suffix, max)?.ok_or_else(|| GgufError::MissingKey(self.key(suffix)).into())
    }

    /// A positive number.
    pub(crate) fn positive(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        let key = self.key(suffix);
        match self.metadata.float(&key)? {
            Some(x) if x <= 0.0 => Err(GgufError::invalid(key, x, "a number above 0").into()),
            other => Ok(other),
        }
    }

    /// A positive number that must be there.
    pub(crate) fn require_positive(&self, suffix: &str) -> Result<f32, ModelError> {
        self.positive(suffix)?.ok_or_else(|| GgufError::MissingKey(self.key(suffix)).into())
    }

    /// A non-negative integer, of any size.
    pub(crate) fn uint(&self, suffix: &str) -> Result<Option<u64>, ModelError> {
        Ok(self.metadata.uint(&self.key(suffix))?)
    }

    /// A number of any sign.
    pub(crate) fn float(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.metadata.float(&self.key(suffix))?)
    }

    pub(crate) fn bool(&self, suffix: &str) -> Result<Option<bool>, ModelError> {
        Ok(self.metadata.bool(&self.key(suffix))?)
    }

    /// An array of so many booleans; `Ok(None)` when the key is absent or no array.
    pub(crate) fn flags(&self, suffix: &str, len: usize) -> Result<Option<Vec<bool>>, ModelError> {
        let key = self.key(suffix);
        let flags = match self.metadata.get(&key) {
            Some(Value::Array(Array::Bool(flags))) => flags.clone(),
            Some(Value::Array(Array::Uint(flags))) => flags.iter().map(|flag| *flag != 0).collect(),
            Some(Value::Array(Array::Int(flags))) => flags.iter().map(|flag| *flag != 0).collect(),
            _ => return Ok(None),
        };
        match flags.len() {
            n if n == len => Ok(Some(flags)),
            n => Err(GgufError::invalid(key, format!("an array of {n}"), format!("one of {len} layers")).into()),
        }
    }

    pub(crate) fn str(&self, suffix: &str) -> Result<Option<&str>, ModelError> {
        Ok(self.metadata.str(&self.key(suffix))?)
    }
}
