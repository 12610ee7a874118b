//! The arguments of the kernels that bring weights back to floats.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch},
    error::CudaError,
};

use super::matmul::{Matrix, Planes};

/// Warps of a block of `dequant_f16`, each with a chunk of 128 columns.
const WARPS: usize = 8;

/// The kernels' `DequantArgs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DequantArgs {
    planes: Planes,
    out: DevicePtr,
    ids: DevicePtr,
    rows: u32,
    cols: u32,
    chunks: u32,
    format: u32,
    first_tile: u32,
    factor: f32,
}

// SAFETY: `DequantArgs` of kernels/dequant_quant.cu.
unsafe impl KernelArgs for DequantArgs {}

impl DequantArgs {
    /// Rows of `matrix` from a tile on, as f16 `[rows][cols]` to `out`.
    pub(super) fn panel(matrix: &Matrix, out: DevicePtr, first_tile: usize) -> Self {
        let layout = matrix.layout();
        Self {
            planes: matrix.planes(),
            out,
            ids: DevicePtr::NULL,
            rows: layout.rows as u32,
            cols: layout.cols as u32,
            chunks: layout.chunks as u32,
            format: layout.format.id(),
            first_tile: first_tile as u32,
            factor: 1.0,
        }
    }

    /// The rows that `ids` names, as f32 times `factor`.
    pub(super) fn rows(matrix: &Matrix, out: DevicePtr, ids: DevicePtr, factor: f32) -> Self {
        Self { ids, factor, ..Self::panel(matrix, out, 0) }
    }
}

/// Queues the launch that brings tiles to f16.
pub(super) fn dequant_f16(kernel: &Kernel, device: &Device, args: &DequantArgs, tiles: usize) -> Result<(), CudaError> {
    let grid = [(args.chunks as usize).div_ceil(WARPS) as u32, tiles as u32, 1];
    let launch = Launch { grid, block: 32 * WARPS as u32, shared_bytes: 0 };
    // SAFETY: the caller's `out` has room for the tiles; the planes are the matrix's.
    unsafe { kernel.launch(device, launch, args) }
}

#[cfg(test)]
mod tests {
    use super::DequantArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<DequantArgs>(), std::mem::offset_of!(DequantArgs, first_tile)), (72, 64));
    }
}
