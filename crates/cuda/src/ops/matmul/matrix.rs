//! Weights on the device.

use crate::{
    device::{Buffer, DevicePtr, Span},
    error::CudaError,
    gpu::Gpu,
    repack::{PlaneFormat, PlaneLayout},
};
use std::sync::Arc;

use super::FormatKernels;

/// A matrix `[rows, cols]` of weights in the kernels' layout.
pub struct Matrix {
    layout: PlaneLayout,
    buffer: Buffer,
    /// What products are multiplied by.
    scale: Scale,
    /// Those that read it.
    kernels: Arc<FormatKernels>,
}

/// What the products of a matrix are multiplied by, beside the scales of its blocks.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// One number; 1 where the file has none.
    Whole(f32),
    /// One for each expert of a stack, `[num_experts]`; it outlives the matrix.
    Each(Span<f32>),
}

/// The kernels' `QuantPlanes`: where each plane starts.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    pub(crate) low: DevicePtr,
    pub(crate) high: DevicePtr,
    pub(crate) scale: DevicePtr,
    pub(crate) super_scale: DevicePtr,
}

impl Matrix {
    /// Memory for a matrix, all zeros.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], [`CudaError::Kernels`].
    pub(super) fn new(gpu: &Gpu, layout: PlaneLayout) -> Result<Self, CudaError> {
        let kernels = gpu.format(layout.format)?;
        Ok(Self {
            layout,
            buffer: Buffer::new(&gpu.device, layout.num_bytes, "weights")?,
            scale: Scale::Whole(1.0),
            kernels,
        })
    }

    /// Shape and format.
    #[must_use]
    pub fn layout(&self) -> &PlaneLayout {
        &self.layout
    }

    /// Outputs.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Inputs.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.layout.cols
    }

    /// How its weights are stored.
    #[must_use]
    pub fn format(&self) -> PlaneFormat {
        self.layout.format
    }

    /// Sets what products are multiplied by. Rows that are read as they are (embeddings) are not.
    pub fn set_scale(&mut self, scale: Scale) {
        self.scale = scale;
    }

    /// What products of the whole matrix are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        match self.scale {
            Scale::Whole(scale) => scale,
            Scale::Each(_) => 1.0,
        }
    }

    /// What products of each expert are multiplied by.
    pub(crate) fn expert_scales(&self) -> Option<Span<f32>> {
        match self.scale {
            Scale::Whole(_) => None,
            Scale::Each(scales) => Some(scales),
        }
    }

    /// Where its planes start: no two matrices start at the same place.
    pub(crate) fn ptr(&self) -> DevicePtr {
        self.buffer.ptr()
    }

    /// The kernels that read it.
    pub(crate) fn kernels(&self) -> &FormatKernels {
        &self.kernels
    }

    pub(crate) fn planes(&self) -> Planes {
        let at = |offset| self.buffer.ptr().offset(offset);
        let PlaneLayout { low, high, scale, super_scale, .. } = self.layout;
        Planes { low: at(low), high: at(high), scale: at(scale), super_scale: at(super_scale) }
    }
}
