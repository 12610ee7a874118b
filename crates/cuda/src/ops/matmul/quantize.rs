//! f32 rows to int8 inputs, where no other kernel makes them in passing.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    ops::act_out::ActQ8,
};

const OP: &str = "quantize_act";

/// The kernel that quantizes rows.
#[derive(Debug)]
pub struct QuantizeAct {
    kernel: Kernel,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct QuantizeActArgs {
    x: DevicePtr,
    out: ActQ8,
    stride: u32,
}

// SAFETY: `QuantizeActArgs` of kernels/quantize_act.cu.
unsafe impl KernelArgs for QuantizeActArgs {}

impl QuantizeAct {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError`] when it cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("quantize_act_f32")? })
    }

    /// Queues one launch: rows `x` `[tokens, cols]`, back to back, to `out`, which has room for them.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when `x` is no whole number of rows or misaligned, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, x: Span<f32>, out: ActQ8) -> Result<(), CudaError> {
        let cols = out.cols as usize;
        if x.is_empty() || !x.len().is_multiple_of(cols) || !x.ptr().0.is_multiple_of(16) {
            return Err(CudaError::shape(OP, format!("{x:?} is no aligned number of rows of {cols} columns")));
        }
        let args = QuantizeActArgs { x: x.ptr(), out, stride: out.cols };
        let launch = Launch { grid: [(x.len() / cols) as u32, 1, 1], block: 256, shared_bytes: 0 };
        // SAFETY: `x` holds the rows; `ActQ8::new` checked the planes for as many by the caller's word.
        unsafe { self.kernel.launch(device, launch, &args) }
    }
}

#[cfg(test)]
mod tests {
    use super::QuantizeActArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<QuantizeActArgs>(), std::mem::offset_of!(QuantizeActArgs, stride)), (48, 40));
    }
}
