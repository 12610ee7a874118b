//! Metadata lookups under the prefix of an architecture.

use gguf::{GgufError, Metadata};

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

    pub(crate) fn str(&self, suffix: &str) -> Result<Option<&str>, ModelError> {
        Ok(self.metadata.str(&self.key(suffix))?)
    }
}
