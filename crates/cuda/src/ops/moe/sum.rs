//! The weighted sum of what a token's experts give.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    ops::act_out::ActOut,
};

use super::{MAX_PAIRS, refuse};

/// Columns of a thread, threads of a block.
const PIECE_COLS: usize = 4;
const THREADS: usize = 256;

/// The kernel of the sum.
#[derive(Debug)]
pub struct ExpertSum {
    kernel: Kernel,
}

/// One sum.
#[derive(Clone, Copy, Debug)]
pub struct ExpertSumCall {
    /// What the experts give, `[tokens * num_used, cols]`.
    pub rows: Span<f32>,
    /// `[tokens * num_used]`.
    pub weights: Span<f32>,
    /// Whether the rows are multiplied by the weights here; else those of weight 0 alone are left out.
    pub weighted: bool,
    /// Experts of a token.
    pub num_used: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// Columns, a multiple of 4.
    pub cols: usize,
    /// The expert that all tokens pass.
    pub shared: Option<SharedOut>,
    /// `[tokens, cols]`.
    pub out: Span<f32>,
}

/// What the expert gives that all tokens pass, and how much of it each token gets.
#[derive(Clone, Copy, Debug)]
pub struct SharedOut {
    /// `[tokens, cols]`.
    pub rows: Span<f32>,
    /// `[cols]`: the sigmoid of its dot product with a token's `x` is the token's weight; without it the weight is 1.
    pub router: Option<Span<f32>>,
    /// `[tokens, cols]` in f16.
    pub x: ActOut,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MoeSumArgs {
    rows: DevicePtr,
    weights: DevicePtr,
    out: DevicePtr,
    shared: DevicePtr,
    gate: DevicePtr,
    x: DevicePtr,
    x_stride: u32,
    cols: u32,
    num_used: u32,
    weighted: u32,
}

// SAFETY: `MoeSumArgs` of kernels/moe_route.cu.
unsafe impl KernelArgs for MoeSumArgs {}

impl ExpertSum {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError`] when it cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("moe_sum")? })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when the launch is refused.
    pub fn run(&self, device: &Device, call: &ExpertSumCall) -> Result<(), CudaError> {
        call.check()?;
        if call.tokens == 0 {
            return Ok(());
        }
        let shared = call.shared;
        let args = MoeSumArgs {
            rows: call.rows.ptr(),
            weights: call.weights.ptr(),
            out: call.out.ptr(),
            shared: shared.map_or(DevicePtr::NULL, |s| s.rows.ptr()),
            gate: shared.and_then(|s| s.router).map_or(DevicePtr::NULL, |router| router.ptr()),
            x: shared.map_or(DevicePtr::NULL, |s| s.x.half),
            x_stride: shared.map_or(0, |s| s.x.half_stride),
            cols: call.cols as u32,
            num_used: call.num_used as u32,
            weighted: u32::from(call.weighted),
        };
        let grid = [call.cols.div_ceil(PIECE_COLS * THREADS) as u32, call.tokens as u32, 1];
        let launch = Launch { grid, block: THREADS as u32, shared_bytes: 0 };
        // SAFETY: the buffers were checked to hold the rows.
        unsafe { self.kernel.launch(device, launch, &args) }
    }
}

impl ExpertSumCall {
    fn check(&self) -> Result<(), CudaError> {
        let Self { num_used, tokens, cols, .. } = *self;
        if cols == 0 || !cols.is_multiple_of(PIECE_COLS) || tokens > MAX_PAIRS {
            return refuse(format!(
                "{tokens} rows of {cols} columns; at most {MAX_PAIRS} of a multiple of {PIECE_COLS}"
            ));
        }
        let pairs = tokens * num_used;
        let mut spans =
            vec![("rows", self.rows, pairs * cols), ("weights", self.weights, pairs), ("out", self.out, tokens * cols)];
        if let Some(SharedOut { rows, router, x }) = self.shared {
            x.check("moe", tokens, cols)?;
            if x.half == DevicePtr::NULL {
                return refuse("the shared expert's weight needs f16 inputs".to_owned());
            }
            spans.push(("shared rows", rows, tokens * cols));
            spans.extend(router.map(|router| ("shared router", router, cols)));
        }
        for (name, span, needed) in spans {
            if span.len() < needed || !span.ptr().0.is_multiple_of(16) {
                return refuse(format!("{name}: {span:?}; {needed} elements are needed, aligned to 16 bytes"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MoeSumArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<MoeSumArgs>(), std::mem::offset_of!(MoeSumArgs, x_stride)), (64, 48));
    }
}
