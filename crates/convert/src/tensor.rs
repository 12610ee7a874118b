//! Tensors that are read row by row, whatever they are made of.

use std::sync::Arc;

use gguf::GgmlType;

use crate::{ConvertError, safetensors::StoredTensor};

/// Something that can be read as rows of floats.
pub(crate) trait Rows: Send + Sync {
    /// Reads whole rows from `first_row` on into `out`.
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError>;

    /// The type of tensors whose blocks it is stored in, if it is.
    fn stored_as(&self) -> Option<GgmlType> {
        None
    }

    /// Reads a row as it is stored, in blocks of [`Self::stored_as`].
    fn read_stored(&self, row: usize, _out: &mut [u8]) -> Result<(), ConvertError> {
        Err(ConvertError::Unsupported(format!("row {row} is not stored in blocks")))
    }
}

/// A named tensor. Its rows are along the last dimension; a vector is one row.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) rows: Arc<dyn Rows>,
}

impl Tensor {
    pub(crate) fn new(name: &str, shape: Vec<usize>, rows: impl Rows + 'static) -> Self {
        Self { name: name.to_owned(), shape, rows: Arc::new(rows) }
    }

    /// A tensor of given numbers.
    pub(crate) fn of_values(name: &str, shape: Vec<usize>, values: Vec<f32>) -> Self {
        let num_cols = shape.last().copied().unwrap_or(1);
        Self::new(name, shape, Values { values, num_cols })
    }

    pub(crate) fn num_cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.shape[..self.shape.len().saturating_sub(1)].iter().product()
    }

    /// All values.
    pub(crate) fn values(&self) -> Result<Vec<f32>, ConvertError> {
        let mut out = vec![0.0; self.num_rows() * self.num_cols()];
        self.rows.read(0, &mut out)?;
        Ok(out)
    }

    pub(crate) fn error(&self, what: impl Into<String>) -> ConvertError {
        ConvertError::tensor(&self.name, what)
    }
}

impl From<StoredTensor> for Tensor {
    fn from(stored: StoredTensor) -> Self {
        Self { name: stored.name.clone(), shape: stored.shape.clone(), rows: Arc::new(stored) }
    }
}

impl Rows for StoredTensor {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        self.read_floats(first_row * self.shape.last().copied().unwrap_or(1), out)
    }
}

struct Values {
    values: Vec<f32>,
    num_cols: usize,
}

impl Rows for Values {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        out.copy_from_slice(&self.values[first_row * self.num_cols..][..out.len()]);
        Ok(())
    }
}
