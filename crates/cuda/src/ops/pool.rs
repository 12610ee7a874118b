//! Hidden states that are given back: rows of the residual stream, or sums of neighbouring ones.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Plain, Span},
    error::CudaError,
    gpu::Gpu,
};

const OP: &str = "pool";
const THREADS: u32 = 256;
/// Columns of a block of threads.
const BLOCK_COLS: usize = 128;
/// What a grid's y dimension takes.
const MAX_ROWS: usize = 65_535;

/// The kernel of the sums.
#[derive(Debug)]
pub struct Pool {
    kernel: Kernel,
}

/// Neighbouring rows, as the kernel has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The first row.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

// SAFETY: two words without padding; every pattern is a value.
unsafe impl Plain for RowRange {}

/// `out[i] = factor * sum of x over ranges[i]`.
#[derive(Clone, Copy, Debug)]
pub struct PoolCall {
    /// `[rows, cols]`.
    pub x: Span<f32>,
    /// A multiple of 4.
    pub cols: usize,
    /// The rows of `x` that are added up for each row of `out`. Read before the step: uploaded, not computed.
    pub ranges: Span<RowRange>,
    /// What the sums are multiplied by.
    pub factor: f32,
    /// `[ranges, cols]`.
    pub out: Span<f32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PoolArgs {
    x: DevicePtr,
    out: DevicePtr,
    ranges: DevicePtr,
    cols: u32,
    factor: f32,
}

// SAFETY: `PoolArgs` of kernels/pool.cu.
unsafe impl KernelArgs for PoolArgs {}

impl Pool {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError`] when it cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("pool_rows")? })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, call: &PoolCall) -> Result<(), CudaError> {
        let PoolCall { x, cols, ranges, factor, out } = *call;
        let rows = ranges.len();
        if cols == 0 || !cols.is_multiple_of(4) || rows > MAX_ROWS {
            return refuse(format!("{rows} rows of {cols} columns; {MAX_ROWS} of a multiple of 4 at most"));
        }
        if out.len() < rows * cols {
            return refuse(format!("out has {} elements, {} are needed", out.len(), rows * cols));
        }
        if [x.ptr(), out.ptr(), ranges.ptr()].iter().any(|ptr| !ptr.0.is_multiple_of(16)) {
            return refuse(format!("{call:?}: not aligned to 16 bytes"));
        }
        if rows == 0 {
            return Ok(());
        }
        let args = PoolArgs { x: x.ptr(), out: out.ptr(), ranges: ranges.ptr(), cols: cols as u32, factor };
        let launch =
            Launch { grid: [cols.div_ceil(BLOCK_COLS) as u32, rows as u32, 1], block: THREADS, shared_bytes: 0 };
        // SAFETY: `out` was checked to hold the rows; ranges lie within `x` by contract.
        unsafe { self.kernel.launch(device, launch, &args) }
    }
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    use super::{PoolArgs, RowRange};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<PoolArgs>(), std::mem::offset_of!(PoolArgs, cols)), (32, 24));
        assert_eq!(size_of::<RowRange>(), 8);
    }
}
