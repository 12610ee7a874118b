//! Reads safetensors files: one, or the shards that an index names.
//!
//! Tensor data is read where it lies, in pieces, and never kept. Format: <https://huggingface.co/docs/safetensors>.

mod dtype;
mod folder;
mod header;
mod writer;

pub use dtype::Dtype;
pub(crate) use folder::{open_file, open_folder};
pub use writer::{OutTensor, write};

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use crate::ConvertError;

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub dtype: Dtype,
    file: Arc<OpenFile>,
    offset: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
}

impl StoredTensor {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the bytes of elements from `first` on.
    pub(crate) fn read_bytes(&self, first: usize, out: &mut [u8]) -> Result<(), ConvertError> {
        let offset = self.offset + (first * self.dtype.num_bytes()) as u64;
        self.file.file.read_exact_at(out, offset).map_err(ConvertError::io(&self.file.path))
    }

    /// Reads `num` elements from `first` on as bytes.
    pub(crate) fn bytes(&self, first: usize, num: usize) -> Result<Vec<u8>, ConvertError> {
        let mut bytes = vec![0; num * self.dtype.num_bytes()];
        self.read_bytes(first, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads elements from `first` on as floats.
    pub(crate) fn read_floats(&self, first: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let bytes = self.bytes(first, out.len())?;
        self.dtype.decode(&bytes, out).map_err(|what| ConvertError::tensor(&self.name, what))
    }

    /// Reads all elements as floats.
    pub(crate) fn floats(&self) -> Result<Vec<f32>, ConvertError> {
        let mut out = vec![0.0; self.len()];
        self.read_floats(0, &mut out)?;
        Ok(out)
    }
}
