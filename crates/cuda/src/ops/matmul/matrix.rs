//! Weights on the device.

use crate::{
    device::{Buffer, DevicePtr},
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
    /// Those that read it.
    kernels: Arc<FormatKernels>,
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
        Ok(Self { layout, buffer: Buffer::new(&gpu.device, layout.num_bytes, "weights")?, kernels })
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
