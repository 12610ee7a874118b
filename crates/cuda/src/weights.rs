//! The weights on the device: matrices in the kernels' layout, vectors as f32.

mod scales;
mod source;

use std::collections::HashMap;

use gguf::Gguf;
use model::{DecoderSpec, DecoderWeights};

use crate::{
    device::{Buffer, DevicePtr, Span},
    error::CudaError,
    gpu::Gpu,
    ops::matmul::{Matrix, Uploader},
    repack::PlaneFormat,
};

use source::{Source, sources};

pub(crate) use source::Origin;

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

    /// The matrix, to be changed.
    ///
    /// # Panics
    /// As [`Self::matrix`].
    fn matrix_mut(&mut self) -> &mut Matrix {
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

/// Which tensors of the file matrices are made of, by where the matrices start.
pub(crate) type Origins = HashMap<DevicePtr, Origin>;

/// A model on the device.
pub(crate) struct Model {
    pub(crate) spec: DecoderSpec,
    pub(crate) weights: DecoderWeights<Weight>,
    pub(crate) origins: Origins,
}

impl Model {
    /// Copies all weights to the device. `progress` is told the bytes of each tensor when it is done.
    pub(crate) fn load(
        gpu: &Gpu,
        gguf: &Gguf,
        spec: DecoderSpec,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, CudaError> {
        let matrices = gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1);
        gpu.prepare(&matrices.filter_map(|tensor| PlaneFormat::of(tensor.ggml_type)).collect::<Vec<_>>())?;
        let mut uploader = Uploader::new(gpu)?;
        let mut origins = Origins::new();
        let mut weights = sources(&spec, gguf)?.try_map(&mut |source: Source| {
            let weight = load(gpu, &mut uploader, gguf, &source)?;
            if let (Weight::Matrix(matrix), Some(origin)) = (&weight, source.origin(gguf)) {
                origins.insert(matrix.ptr(), origin);
            }
            progress(source.file_bytes());
            Ok::<_, CudaError>(weight)
        })?;
        uploader.finish()?;
        scales::of_matrices(&gpu.device, &mut weights)?;
        scales::of_inputs(&gpu.device, &spec, &weights)?;
        Ok(Self { spec, weights, origins })
    }

    /// The output matrix.
    pub(crate) fn output(&self) -> &Matrix {
        self.weights.output.as_ref().unwrap_or(&self.weights.token_embd).matrix()
    }
}

/// Bytes that a model's weights take on the device. Looks at shapes alone: the file may be one that is only described.
///
/// # Errors
/// [`CudaError::Model`] when a tensor is missing, [`CudaError::Layout`] when no kernel reads one.
pub fn weight_bytes(spec: &DecoderSpec, gguf: &Gguf) -> Result<usize, CudaError> {
    let mut bytes = 0;
    sources(spec, gguf)?.try_map(&mut |source: Source| {
        bytes += match source.layout()? {
            Some(layout) => layout.num_bytes,
            None => 4 * source.num_weights(),
        };
        Ok::<_, CudaError>(())
    })?;
    Ok(bytes)
}

fn load(gpu: &Gpu, uploader: &mut Uploader, gguf: &Gguf, source: &Source) -> Result<Weight, CudaError> {
    if let Some(layout) = source.layout()? {
        return uploader.matrix(gpu, layout, &source.bytes(gguf)?).map(Weight::Matrix);
    }
    let values = source.values(gguf)?;
    let buffer = Buffer::new(&gpu.device, 4 * values.len(), "a vector")?;
    gpu.device.upload(buffer.all(), &values)?;
    Ok(Weight::Vector(buffer))
}
