//! The weights on the device: matrices in the kernels' layout, vectors as f32.

use gguf::{Gguf, TensorInfo};
use model::{DecoderSpec, DecoderWeights};
use quant::{Format, Isa};

use crate::{
    device::{Buffer, Span},
    error::CudaError,
    gpu::Gpu,
    ops::matmul::{Matrix, Uploader},
    repack::PlaneLayout,
    supported,
};

/// The rows of an expert are a multiple of this: whole tiles of the kernels.
const EXPERT_ROWS: usize = 16;

/// A tensor on the device.
pub(crate) enum Weight {
    /// Two dimensions or three: in the layout of the matrix kernels.
    Matrix(Matrix),
    /// One dimension: f32.
    Vector(Buffer),
}

impl Weight {
    /// The matrix.
    ///
    /// # Panics
    /// When it is a vector: the model's specification has told them apart.
    pub(crate) fn matrix(&self) -> &Matrix {
        match self {
            Self::Matrix(matrix) => matrix,
            Self::Vector(_) => panic!("a vector stands where a matrix belongs"),
        }
    }

    /// The vector.
    ///
    /// # Panics
    /// When it is a matrix: the model's specification has told them apart.
    pub(crate) fn vector(&self) -> Span<f32> {
        match self {
            Self::Vector(buffer) => buffer.all(),
            Self::Matrix(_) => panic!("a matrix stands where a vector belongs"),
        }
    }
}

/// A model on the device.
pub(crate) struct Model {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: DecoderWeights<Weight>,
}

impl Model {
    /// Copies all weights to the device. `progress` is told the bytes of each tensor when it is done.
    pub(crate) fn load(
        gpu: &Gpu,
        gguf: &Gguf,
        spec: DecoderSpec,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, CudaError> {
        let tensors = model::resolve_weights(&spec, gguf)?;
        supported::check_weights(&spec, &tensors)?;
        let mut uploader = Uploader::new(gpu)?;
        let weights = tensors.try_map(&mut |tensor| {
            let weight = load_tensor(gpu, &mut uploader, gguf, &tensor)?;
            progress(tensor.num_bytes);
            Ok::<_, CudaError>(weight)
        })?;
        uploader.finish()?;
        Ok(Self { spec, weights })
    }

    /// The output matrix.
    pub(crate) fn output(&self) -> &Matrix {
        self.weights.output.as_ref().unwrap_or(&self.weights.token_embd).matrix()
    }
}

/// Bytes that a file's weights take on the device.
///
/// # Errors
/// [`CudaError::Layout`] when no kernel reads a tensor.
pub(crate) fn device_bytes(gguf: &Gguf) -> Result<usize, CudaError> {
    let bytes = gguf.tensors().iter().map(|tensor| match tensor.shape.len() {
        0 | 1 => Ok(4 * tensor.num_weights()),
        _ => layout(tensor).map(|layout| layout.num_bytes),
    });
    bytes.sum()
}

/// How a matrix lies on the device; experts' matrices lie one behind the other as one.
fn layout(tensor: &TensorInfo) -> Result<PlaneLayout, CudaError> {
    let cols = tensor.shape[0];
    let rows = tensor.shape[1..].iter().product();
    if tensor.shape.len() > 2 && !tensor.shape[1].is_multiple_of(EXPERT_ROWS) {
        let (name, rows) = (&tensor.name, tensor.shape[1]);
        let message = format!("tensor `{name}`: experts of {rows} rows; the GPU takes multiples of {EXPERT_ROWS}");
        return Err(CudaError::Unsupported(message));
    }
    PlaneLayout::new(tensor.ggml_type, rows, cols)
        .map_err(|source| CudaError::Layout { tensor: tensor.name.clone(), source })
}

fn load_tensor(gpu: &Gpu, uploader: &mut Uploader, gguf: &Gguf, tensor: &TensorInfo) -> Result<Weight, CudaError> {
    if tensor.shape.len() > 1 {
        let layout = layout(tensor)?;
        return uploader.matrix(gpu, layout, gguf.data(tensor)).map(Weight::Matrix);
    }
    let format = Format::of(tensor.ggml_type)
        .map_err(|error| CudaError::Unsupported(format!("tensor `{}`: {error}", tensor.name)))?;
    let mut values = vec![0.0; tensor.num_weights()];
    format.decode_row(Isa::detect(), gguf.data(tensor), &mut values);
    let buffer = Buffer::new(&gpu.device, 4 * values.len(), "a vector")?;
    gpu.device.upload(buffer.all(), &values)?;
    Ok(Weight::Vector(buffer))
}
