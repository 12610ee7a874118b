//! Where a weight comes from: a tensor of the file, or several that become one matrix.

use std::borrow::Cow;

use gguf::{Gguf, TensorInfo};
use model::{AttentionWeights, DecoderSpec, DecoderWeights, ExpertLinear, FfnWeights, LatentKeys, Stacked};
use quant::{Format, GgmlType, Isa};

use crate::{error::CudaError, ops::moe::padded_rows, repack::PlaneLayout};

/// What one weight is made of.
pub(super) enum Source {
    /// A tensor as it is; one of three dimensions is a stack of matrices.
    Tensor(TensorInfo),
    /// Matrices of equal shape and type, one behind the other.
    Stack(Vec<TensorInfo>),
    /// The same, each transposed.
    Transposed(Vec<TensorInfo>),
    /// The first row of a matrix, as a vector.
    FirstRow(TensorInfo),
}

/// The tensors of the file that a matrix, or a stack of them, is made of.
pub(crate) struct Origin {
    /// One for all matrices or one for each, and how many matrices it has.
    tensors: Vec<(String, usize)>,
    /// Matrices of the stack.
    pub(crate) num_matrices: usize,
    /// Columns of each.
    pub(crate) num_cols: usize,
}

/// Matrices of equal shape, one behind the other.
#[derive(Clone, Copy)]
struct Shape {
    ggml_type: GgmlType,
    cols: usize,
    rows: usize,
    /// Rows with what fills each matrix of a stack up to whole tiles.
    padded: usize,
    count: usize,
}

/// The sources of all weights, with every stack in one piece.
pub(super) fn sources(spec: &DecoderSpec, gguf: &Gguf) -> Result<DecoderWeights<Source>, CudaError> {
    let tensors = model::resolve_weights(spec, gguf)?;
    let mut weights = tensors.try_map(&mut |tensor| Ok::<_, CudaError>(Source::Tensor(tensor)))?;
    // All tokens are of the first type.
    weights.token_types = match weights.token_types {
        Some(Source::Tensor(table)) => Some(Source::FirstRow(table)),
        other => other,
    };
    for layer in &mut weights.layers {
        if let AttentionWeights::Latent(latent) = &mut layer.attention {
            join(&mut latent.v_b)?;
            if let LatentKeys::Transposed(each) = &mut latent.k_b {
                latent.k_b = LatentKeys::Absorbed(Source::Transposed(tensors_of(each)?));
            }
        }
        let moe = match &mut layer.ffn {
            FfnWeights::Gated(_) | FfnWeights::Plain(_) => continue,
            FfnWeights::Moe(moe) => moe,
            FfnWeights::GatedAndMoe(both) => &mut both.moe,
        };
        for ExpertLinear { weight, .. } in [&mut moe.gate, &mut moe.up, &mut moe.down] {
            join(weight)?;
        }
    }
    Ok(weights)
}

fn join(stacked: &mut Stacked<Source>) -> Result<(), CudaError> {
    if let Stacked::Each(each) = stacked {
        *stacked = Stacked::One(Source::Stack(tensors_of(each)?));
    }
    Ok(())
}

/// Takes the tensors out; they must be of one shape and type.
fn tensors_of(each: &mut Vec<Source>) -> Result<Vec<TensorInfo>, CudaError> {
    let tensors: Vec<TensorInfo> = std::mem::take(each).into_iter().flat_map(Source::into_tensors).collect();
    let Some(first) = tensors.first() else {
        return Err(CudaError::Unsupported("a stack of no matrices".to_owned()));
    };
    if let Some(other) = tensors.iter().find(|t| t.shape != first.shape || t.ggml_type != first.ggml_type) {
        return Err(CudaError::Unsupported(format!(
            "tensor `{}` is {} {:?}, `{}` is {} {:?}; the GPU takes experts of one type and shape",
            first.name, first.ggml_type, first.shape, other.name, other.ggml_type, other.shape
        )));
    }
    Ok(tensors)
}

impl Origin {
    /// The tensor that a matrix of the stack lies in, which of its matrices that is, and how many it has.
    pub(crate) fn tensor(&self, matrix: usize) -> (&str, usize, usize) {
        let (name, count) = if self.tensors.len() > 1 { &self.tensors[matrix] } else { &self.tensors[0] };
        (name, if *count > 1 { matrix } else { 0 }, *count)
    }
}

impl Source {
    fn tensors(&self) -> &[TensorInfo] {
        match self {
            Self::Tensor(tensor) | Self::FirstRow(tensor) => std::slice::from_ref(tensor),
            Self::Stack(tensors) | Self::Transposed(tensors) => tensors,
        }
    }

    fn into_tensors(self) -> Vec<TensorInfo> {
        match self {
            Self::Tensor(tensor) | Self::FirstRow(tensor) => vec![tensor],
            Self::Stack(tensors) | Self::Transposed(tensors) => tensors,
        }
    }

    /// The tensors of the file, as long as their columns are the matrix's. A part of a tensor counts for the whole.
    pub(super) fn origin(&self, gguf: &Gguf) -> Option<Origin> {
        let Shape { cols, count, .. } = self.shape()?;
        if matches!(self, Self::Transposed(_)) {
            return None;
        }
        let whole = |part: &TensorInfo| {
            let tensor = gguf.tensor(&part.name)?;
            Some((tensor.name.clone(), tensor.shape.get(2).copied().unwrap_or(1)))
        };
        let tensors = self.tensors().iter().map(whole).collect::<Option<_>>()?;
        Some(Origin { tensors, num_matrices: count, num_cols: cols })
    }

    /// Bytes in the file.
    pub(super) fn file_bytes(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.num_bytes).sum()
    }

    /// Numbers of a vector or matrix.
    pub(super) fn num_weights(&self) -> usize {
        match self {
            Self::FirstRow(tensor) => tensor.shape[0],
            _ => self.tensors().iter().map(TensorInfo::num_weights).sum(),
        }
    }

    /// The matrices; `None` for a vector.
    fn shape(&self) -> Option<Shape> {
        let first = &self.tensors()[0];
        let (ggml_type, cols, rows, count) = match (self, &first.shape[..]) {
            (Self::Transposed(all), &[cols, rows]) => (GgmlType::F32, rows, cols, all.len()),
            (Self::Stack(all), &[cols, rows]) => (first.ggml_type, cols, rows, all.len()),
            (Self::FirstRow(_), _) | (_, &[] | &[_]) => return None,
            (_, &[cols, rows]) => {
                return Some(Shape { ggml_type: first.ggml_type, cols, rows, padded: rows, count: 1 });
            }
            (_, &[cols, rows, ref counts @ ..]) => (first.ggml_type, cols, rows, counts.iter().product()),
        };
        Some(Shape { ggml_type, cols, rows, padded: padded_rows(rows), count })
    }

    /// How a matrix lies on the device, stacked ones one behind the other as one; `None` for a vector.
    ///
    /// # Errors
    /// [`CudaError::Layout`] when no kernel reads the type.
    pub(super) fn layout(&self) -> Result<Option<PlaneLayout>, CudaError> {
        let Some(Shape { ggml_type, cols, padded, count, .. }) = self.shape() else { return Ok(None) };
        let tensor = || self.tensors()[0].name.clone();
        let layout = PlaneLayout::new(ggml_type, padded * count, cols);
        layout.map(Some).map_err(|source| CudaError::Layout { tensor: tensor(), source })
    }

    /// The rows of the matrix, in the layout's type. Blocks of zeros are weights of zero, in every type.
    pub(super) fn bytes<'a>(&self, gguf: &'a Gguf) -> Result<Cow<'a, [u8]>, CudaError> {
        let bytes = self.unpadded_bytes(gguf)?;
        let Some(Shape { rows, padded, count, .. }) = self.shape() else { return Ok(bytes) };
        if rows == padded {
            return Ok(bytes);
        }
        let (mut filled, each) = (Vec::new(), bytes.len() / count);
        for matrix in bytes.chunks_exact(each) {
            filled.extend_from_slice(matrix);
            filled.resize(filled.len() + each / rows * (padded - rows), 0);
        }
        Ok(Cow::Owned(filled))
    }

    fn unpadded_bytes<'a>(&self, gguf: &'a Gguf) -> Result<Cow<'a, [u8]>, CudaError> {
        Ok(match self {
            Self::Tensor(tensor) | Self::FirstRow(tensor) => Cow::Borrowed(gguf.data(tensor)),
            Self::Stack(tensors) => Cow::Owned(tensors.iter().flat_map(|t| gguf.data(t)).copied().collect()),
            Self::Transposed(tensors) => {
                let mut bytes = Vec::new();
                for tensor in tensors {
                    let values = decode(gguf, tensor)?;
                    let cols = tensor.shape[0];
                    let columns = (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols));
                    bytes.extend(columns.flat_map(|value| value.to_le_bytes()));
                }
                Cow::Owned(bytes)
            }
        })
    }

    /// The numbers of a vector.
    pub(super) fn values(&self, gguf: &Gguf) -> Result<Vec<f32>, CudaError> {
        let mut values = Vec::new();
        for tensor in self.tensors() {
            values.extend(decode(gguf, tensor)?);
        }
        values.truncate(self.num_weights());
        Ok(values)
    }
}

fn decode(gguf: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>, CudaError> {
    let format = Format::of(tensor.ggml_type)
        .map_err(|error| CudaError::Unsupported(format!("tensor `{}`: {error}", tensor.name)))?;
    let mut values = vec![0.0; tensor.num_weights()];
    format.decode_row(Isa::detect(), gguf.data(tensor), &mut values);
    Ok(values)
}
