//! The feed-forward's gate: `activation(gate) * up` to the inputs of a matrix.

use model::Activation;

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    ops::act_out::ActOut,
};

const OP: &str = "gated_act";
/// Up to so many rows, blocks are small, so that few rows keep many multiprocessors busy.
const FEW_ROWS: usize = 8;
/// The largest grid along y.
const MAX_ROWS: usize = 65_535;

/// The kernels of the gate.
#[derive(Debug)]
pub struct GatedAct {
    silu: Kernel,
    gelu_tanh: Kernel,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct GatedActCall {
    /// Gate and up side by side, `[rows, 2 * cols]`.
    pub gate_up: Span<f32>,
    /// Number of rows.
    pub rows: usize,
    /// Columns of the gate; a multiple of 4, of 32 where int8 is written.
    pub cols: usize,
    /// The gate's activation.
    pub activation: Activation,
    /// Where the rows go.
    pub out: ActOut,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct GatedActArgs {
    gate_up: DevicePtr,
    out: ActOut,
    stride: u32,
    up_offset: u32,
}

// SAFETY: `GatedActArgs` of kernels/gated_act.cu.
unsafe impl KernelArgs for GatedActArgs {}

impl GatedAct {
    /// Looks the kernels up.
    ///
    /// # Errors
    /// [`CudaError`] when they cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let kernel = |name| gpu.kernels.get(name);
        Ok(Self { silu: kernel("gated_act_silu_f32")?, gelu_tanh: kernel("gated_act_gelu_tanh_f32")? })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when the launch is refused.
    pub fn run(&self, device: &Device, call: &GatedActCall) -> Result<(), CudaError> {
        let GatedActCall { gate_up, rows, cols, activation, out } = *call;
        out.check(OP, rows, cols)?;
        let needed = rows * 2 * cols;
        if gate_up.len() < needed || !gate_up.ptr().0.is_multiple_of(16) {
            let (len, at) = (gate_up.len(), gate_up.ptr().0);
            let message =
                format!("gate and up have {len} elements at {at:#x}; {needed} are needed, aligned to 16 bytes");
            return Err(CudaError::shape(OP, message));
        }
        if rows == 0 {
            return Ok(());
        }
        if rows > MAX_ROWS {
            return Err(CudaError::shape(OP, format!("{rows} rows; the limit is {MAX_ROWS}")));
        }
        let kernel = match activation {
            Activation::Silu => &self.silu,
            Activation::GeluTanh => &self.gelu_tanh,
            other => return Err(CudaError::shape(OP, format!("no kernel of {other:?}"))),
        };
        let block: u32 = if rows <= FEW_ROWS { 64 } else { 256 };
        let args = GatedActArgs { gate_up: gate_up.ptr(), out, stride: 2 * cols as u32, up_offset: cols as u32 };
        let launch = Launch { grid: [(cols as u32).div_ceil(4 * block), rows as u32, 1], block, shared_bytes: 0 };
        // SAFETY: both sides were checked to have room for the rows.
        unsafe { kernel.launch(device, launch, &args) }
    }
}

#[cfg(test)]
mod tests {
    use super::GatedActArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<GatedActArgs>(), std::mem::offset_of!(GatedActArgs, stride)), (64, 56));
    }
}
