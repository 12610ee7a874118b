//! The weights: matrices stay blocks in the mapped file, vectors are decoded once.

use std::sync::Arc;

use gguf::{Gguf, TensorInfo};
use model::{DecoderSpec, DecoderWeights};
use quant::{Format, Isa, Layout, Precision};

use crate::CpuError;

/// A tensor of the model.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    tensor: TensorInfo,
    format: &'static Format,
    /// Of tensors with one dimension: their values.
    floats: Vec<f32>,
}

impl Weight {
    fn new(gguf: &Gguf, isa: Isa, tensor: &TensorInfo) -> Result<Self, CpuError> {
        let format = Format::of(tensor.ggml_type)
            .map_err(|source| CpuError::TensorType { tensor: tensor.name.clone(), source })?;
        let mut floats = Vec::new();
        if tensor.shape.len() == 1 {
            floats.resize(tensor.num_weights(), 0.0);
            format.decode_row(isa, gguf.data(tensor), &mut floats);
        }
        Ok(Self { tensor: tensor.clone(), format, floats })
    }

    /// The values of a vector.
    pub(crate) fn vector(&self) -> &[f32] {
        &self.floats
    }

    /// Rows of a matrix.
    pub(crate) fn num_rows(&self) -> usize {
        self.tensor.shape[1]
    }

    /// Columns of a matrix.
    pub(crate) fn num_cols(&self) -> usize {
        self.tensor.shape[0]
    }

    /// Bytes of a row of a matrix.
    pub(crate) fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.num_cols())
    }

    /// How a matrix is stored, to be multiplied with this precision.
    pub(crate) fn layout(&self, precision: Precision) -> Layout {
        Layout { format: self.format, num_cols: self.num_cols(), precision }
    }

    /// The blocks of some rows of a matrix.
    pub(crate) fn rows<'a>(&self, gguf: &'a Gguf, rows: std::ops::Range<usize>) -> &'a [u8] {
        let row_bytes = self.row_bytes();
        &gguf.data(&self.tensor)[rows.start * row_bytes..rows.end * row_bytes]
    }

    /// Decodes a row of a matrix.
    pub(crate) fn decode_row(&self, gguf: &Gguf, isa: Isa, row: usize, out: &mut [f32]) {
        self.format.decode_row(isa, self.rows(gguf, row..row + 1), out);
    }
}

/// A loaded model.
pub(crate) struct Model {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: DecoderWeights<Weight>,
    pub(crate) gguf: Arc<Gguf>,
    /// Whether any matrix is multiplied with integers, at [`Precision::Int8`].
    pub(crate) has_blocks: bool,
}

impl Model {
    pub(crate) fn load(gguf: Arc<Gguf>, isa: Isa) -> Result<Self, CpuError> {
        let spec = model::decoder_spec(&gguf)?;
        let weights = model::resolve_weights(&spec, &gguf)?;
        let weights = weights.try_map(&mut |tensor| Weight::new(&gguf, isa, tensor))?;
        let has_blocks = gguf.tensors().iter().any(|t| t.shape.len() > 1 && t.ggml_type.block_len() > 1);
        Ok(Self { spec, weights, gguf, has_blocks })
    }

    /// The output matrix.
    pub(crate) fn output(&self) -> &Weight {
        self.weights.output.as_ref().unwrap_or(&self.weights.token_embd)
    }
}
