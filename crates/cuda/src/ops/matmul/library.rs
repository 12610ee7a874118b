//! Products of many tokens by cuBLAS: weights to f16, some rows at a time, then the library's product.

use crate::{
    Device,
    device::{Buffer, DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    ops::dequant::Dequant,
};

use super::{
    call::{MatmulCall, Segment},
    cublas::{Cublas, Gemm},
};

/// Bytes for weights in f16. More rows at a time fill the device better, fewer stay in its cache.
const SCRATCH_BYTES: usize = 128 << 20;
/// Rows of a tile: a panel is whole tiles.
const TILE_ROWS: usize = 16;

/// cuBLAS, and what prepares its inputs.
pub(super) struct Library {
    cublas: Cublas,
    init: Kernel,
    scratch: Buffer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MatmulInitArgs {
    out: DevicePtr,
    bias: DevicePtr,
    residual: DevicePtr,
    rows: u32,
    stride: u32,
}

// SAFETY: `MatmulInitArgs` of kernels/matmul_init.cu.
unsafe impl KernelArgs for MatmulInitArgs {}

impl Library {
    /// Loads cuBLAS; `None` where it is not installed.
    pub(super) fn load(gpu: &Gpu) -> Result<Option<Self>, CudaError> {
        let Some(cublas) = Cublas::load(&gpu.device)? else { return Ok(None) };
        Ok(Some(Self {
            cublas,
            init: gpu.kernels.get("matmul_init")?,
            scratch: Buffer::new(&gpu.device, SCRATCH_BYTES, "weights in f16")?,
        }))
    }

    /// Bytes that [`Self::load`] takes; what the library takes for itself is estimated.
    pub(super) fn num_bytes() -> usize {
        if Cublas::is_installed() { Cublas::NUM_BYTES + SCRATCH_BYTES } else { 0 }
    }

    /// Whether the scratch memory holds a tile of such rows.
    pub(super) fn takes(&self, cols: usize) -> bool {
        panel_rows(cols) > 0
    }

    /// Queues the products of a checked call with f16 inputs.
    pub(super) fn run(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        call.segments.iter().try_for_each(|segment| self.product(device, call, segment))
    }

    fn product(&self, device: &Device, call: &MatmulCall<'_>, segment: &Segment<'_>) -> Result<(), CudaError> {
        let add = self.prepare_out(device, call.tokens, segment)?;
        let (rows, cols) = (segment.matrix.rows(), call.cols());
        let panel = panel_rows(cols).min(rows);
        for first in (0..rows).step_by(panel) {
            let num_rows = panel.min(rows - first);
            Dequant.run(device, segment.matrix, first, self.scratch.span(0, num_rows * cols))?;
            let gemm = Gemm {
                weights: self.scratch.ptr(),
                x: call.act.half,
                out: segment.out.ptr().offset(first * 4),
                rows: num_rows,
                cols,
                tokens: call.tokens,
                x_stride: call.act.half_stride as usize,
                out_stride: segment.out_stride,
                scale: segment.matrix.scale(),
                add,
            };
            // SAFETY: the call was checked; the scratch memory holds a panel.
            unsafe { self.cublas.gemm(&gemm)? };
        }
        Ok(())
    }

    /// Puts bias and residual where the product goes; says whether it is to be added to what is there.
    fn prepare_out(&self, device: &Device, tokens: usize, segment: &Segment<'_>) -> Result<bool, CudaError> {
        let residual = segment.residual.map(|span| span.ptr());
        if segment.bias.is_none() && residual.is_none_or(|residual| residual == segment.out.ptr()) {
            return Ok(residual.is_some());
        }
        let args = MatmulInitArgs {
            out: segment.out.ptr(),
            bias: segment.bias.map_or(DevicePtr::NULL, |span: Span<f32>| span.ptr()),
            residual: residual.unwrap_or(DevicePtr::NULL),
            rows: segment.matrix.rows() as u32,
            stride: segment.out_stride as u32,
        };
        let launch = Launch { grid: [tokens as u32, 1, 1], block: 256, shared_bytes: 0 };
        // SAFETY: the call was checked: every row lies in the buffers.
        unsafe { self.init.launch(device, launch, &args)? };
        Ok(true)
    }
}

/// Rows of such columns that the scratch memory holds, in whole tiles.
fn panel_rows(cols: usize) -> usize {
    SCRATCH_BYTES / (2 * cols * TILE_ROWS) * TILE_ROWS
}

#[cfg(test)]
mod tests {
    use super::{MatmulInitArgs, SCRATCH_BYTES, panel_rows};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<MatmulInitArgs>(), std::mem::offset_of!(MatmulInitArgs, rows)), (32, 24));
    }

    #[test]
    fn panels_are_whole_tiles_in_the_scratch_memory() {
        for cols in [32, 1056, 4096, 14_336, 1 << 22] {
            let rows = panel_rows(cols);
            assert!(rows.is_multiple_of(16) && rows * cols * 2 <= SCRATCH_BYTES, "{cols}: {rows}");
        }
    }
}
