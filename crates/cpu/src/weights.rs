//! The weights: matrices stay blocks in the mapped file, vectors are decoded once.

use std::{ops::Range, sync::Arc};

use gguf::{Gguf, TensorInfo};
use model::{AttentionWeights, DecoderSpec, DecoderWeights, LatentKeys, Stacked};
use quant::{Format, GgmlType, Isa, Layout, Precision};

use crate::CpuError;

/// A tensor of the model.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// `[columns, rows, matrices]`, as far as there are so many dimensions.
    shape: Vec<usize>,
    format: &'static Format,
    store: Store,
    /// Of tensors with one dimension: their values.
    floats: Vec<f32>,
}

/// Where the blocks lie.
#[derive(Clone, Debug)]
enum Store {
    /// In the file.
    Mapped(TensorInfo),
    /// Here: made when the model was loaded.
    Owned(Vec<u8>),
}

impl Weight {
    fn new(gguf: &Gguf, isa: Isa, tensor: TensorInfo) -> Result<Self, CpuError> {
        let format = Format::of(tensor.ggml_type)
            .map_err(|source| CpuError::TensorType { tensor: tensor.name.clone(), source })?;
        let mut floats = Vec::new();
        if tensor.shape.len() == 1 {
            floats.resize(tensor.num_weights(), 0.0);
            format.decode_row(isa, gguf.data(&tensor), &mut floats);
        }
        Ok(Self { shape: tensor.shape.clone(), format, store: Store::Mapped(tensor), floats })
    }

    /// The tensor of the file, where it is one.
    pub(crate) fn tensor(&self) -> Option<&TensorInfo> {
        match &self.store {
            Store::Mapped(tensor) => Some(tensor),
            Store::Owned(_) => None,
        }
    }

    /// The values of a vector.
    pub(crate) fn vector(&self) -> &[f32] {
        &self.floats
    }

    /// Rows of a matrix.
    pub(crate) fn num_rows(&self) -> usize {
        self.shape[1]
    }

    /// Columns of a matrix.
    pub(crate) fn num_cols(&self) -> usize {
        self.shape[0]
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
    pub(crate) fn rows<'a>(&'a self, gguf: &'a Gguf, rows: Range<usize>) -> &'a [u8] {
        let row_bytes = self.row_bytes();
        let bytes = match &self.store {
            Store::Mapped(tensor) => gguf.data(tensor),
            Store::Owned(bytes) => bytes,
        };
        &bytes[rows.start * row_bytes..rows.end * row_bytes]
    }

    /// Decodes a row of a matrix.
    pub(crate) fn decode_row(&self, gguf: &Gguf, isa: Isa, row: usize, out: &mut [f32]) {
        self.format.decode_row(isa, self.rows(gguf, row..row + 1), out);
    }

    /// Matrices of equal shape, each transposed, one behind the other in single precision.
    fn transposed(gguf: &Gguf, isa: Isa, matrices: &[Self]) -> Result<Self, CpuError> {
        let format = Format::of(GgmlType::F32)
            .map_err(|source| CpuError::TensorType { tensor: "attn_kv_b".to_owned(), source })?;
        let (num_rows, num_cols) = (matrices[0].num_rows(), matrices[0].num_cols());
        let mut bytes = vec![0; 4 * matrices.len() * num_rows * num_cols];
        let mut values = vec![0.0; num_cols];
        for (matrix, bytes) in matrices.iter().zip(bytes.chunks_exact_mut(4 * num_rows * num_cols)) {
            for row in 0..num_rows {
                matrix.decode_row(gguf, isa, row, &mut values);
                for (col, value) in values.iter().enumerate() {
                    bytes[4 * (col * num_rows + row)..][..4].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        let shape = vec![num_rows, num_cols, matrices.len()];
        Ok(Self { shape, format, store: Store::Owned(bytes), floats: Vec::new() })
    }
}

/// Matrices of equal shape: of experts, of heads.
#[derive(Clone, Copy)]
pub(crate) enum Matrices<'a> {
    /// One behind the other.
    One(&'a Weight),
    /// A tensor each.
    Each(&'a [Weight]),
}

impl<'a> Matrices<'a> {
    pub(crate) fn of(stacked: &'a Stacked<Weight>) -> Self {
        match stacked {
            Stacked::One(weight) => Self::One(weight),
            Stacked::Each(weights) => Self::Each(weights),
        }
    }

    /// Rows of each.
    pub(crate) fn num_rows(self) -> usize {
        match self {
            Self::One(weight) => weight.num_rows(),
            Self::Each(weights) => weights[0].num_rows(),
        }
    }

    /// The tensor that one of them lies in, and its first row there.
    pub(crate) fn at(self, idx: usize) -> (&'a Weight, usize) {
        match self {
            Self::One(weight) => (weight, idx * weight.num_rows()),
            Self::Each(weights) => (&weights[idx], 0),
        }
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
        let mut spec = model::decoder_spec(&gguf)?;
        let weights = model::resolve_weights(&spec, &gguf)?;
        let mut weights = weights.try_map(&mut |tensor| Weight::new(&gguf, isa, tensor))?;
        if let Some(scale) = &weights.output_scale {
            spec.logit_scale *= scale.vector()[0];
        }
        for layer in &mut weights.layers {
            if let AttentionWeights::Latent(latent) = &mut layer.attention
                && let LatentKeys::Transposed(matrices) = &latent.k_b
            {
                latent.k_b = LatentKeys::Absorbed(Weight::transposed(&gguf, isa, matrices)?);
            }
        }
        let has_blocks = gguf.tensors().iter().any(|t| t.shape.len() > 1 && t.ggml_type.block_len() > 1);
        Ok(Self { spec, weights, gguf, has_blocks })
    }

    /// The output matrix.
    pub(crate) fn output(&self) -> &Weight {
        self.weights.output.as_ref().unwrap_or(&self.weights.token_embd)
    }
}
