//! GGUF files as sources: tensors decoded to floats.

use std::sync::Arc;

use gguf::{Gguf, TensorInfo};
use quant::{Format, Isa};

use crate::{
    ConvertError,
    tensor::{Rows, Tensor},
};

/// A tensor of a file.
pub(crate) fn tensor(gguf: &Arc<Gguf>, info: &TensorInfo) -> Result<Tensor, ConvertError> {
    let format = Format::of(info.ggml_type).map_err(|e| ConvertError::tensor(&info.name, e.to_string()))?;
    let shape = info.shape.iter().rev().copied().collect();
    let rows = GgufRows { gguf: Arc::clone(gguf), info: info.clone(), format };
    Ok(Tensor::new(&info.name, shape, rows))
}

struct GgufRows {
    gguf: Arc<Gguf>,
    info: TensorInfo,
    format: &'static Format,
}

impl Rows for GgufRows {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let num_cols = self.info.shape.first().copied().unwrap_or(1).max(1);
        let row_bytes = self.format.row_bytes(num_cols);
        let bytes = &self.gguf.data(&self.info)[first_row * row_bytes..];
        for (out, bytes) in out.chunks_exact_mut(num_cols).zip(bytes.chunks_exact(row_bytes)) {
            self.format.decode_row(Isa::detect(), bytes, out);
        }
        Ok(())
    }
}
