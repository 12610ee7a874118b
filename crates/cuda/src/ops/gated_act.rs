//! The feed-forward's activation, `activation(gate) * up` or `activation(up)`, to the inputs of a matrix.

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

/// The kernels of the activations.
#[derive(Debug)]
pub struct GatedAct {
    silu: Kernels,
    gelu: Kernels,
    gelu_tanh: Kernels,
    clamped_swiglu: Kernel,
    none: Kernel,
}

/// With a gate and without.
#[derive(Debug)]
struct Kernels {
    gated: Kernel,
    plain: Kernel,
}

/// What rows hold.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    /// Gate and up side by side.
    GateUp,
    /// Up alone.
    Up,
    /// The gate alone; up lies elsewhere.
    Gate {
        /// `[rows, stride]`, of which the first columns are read.
        up: Span<f32>,
        /// Elements from one row to the next, a multiple of 4.
        stride: usize,
    },
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct GatedActCall {
    /// What [`Self::inner`] says, `[rows, 2 * cols]` or `[rows, cols]`.
    pub gate_up: Span<f32>,
    /// What rows hold.
    pub inner: Inner,
    /// Number of rows.
    pub rows: usize,
    /// Columns of the gate; a multiple of 4, of 32 where int8 is written.
    pub cols: usize,
    /// The activation; [`Activation::ClampedSwiglu`] with a gate only.
    pub activation: Activation,
    /// Where the rows go.
    pub out: ActOut,
}

/// Rows that are taken as they are.
#[derive(Clone, Copy, Debug)]
pub struct RowsCall {
    /// `[rows, stride]`, of which the first `cols` columns are taken.
    pub from: Span<f32>,
    /// Elements from one row to the next, a multiple of 4.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Columns; a multiple of 4, of 32 where int8 is written.
    pub cols: usize,
    /// Where the rows go.
    pub out: ActOut,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct GatedActArgs {
    gate: DevicePtr,
    up: DevicePtr,
    out: ActOut,
    stride: u32,
    up_stride: u32,
}

// SAFETY: `GatedActArgs` of kernels/gated_act.cu.
unsafe impl KernelArgs for GatedActArgs {}

impl GatedAct {
    /// Looks the kernels up.
    ///
    /// # Errors
    /// [`CudaError`] when they cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let get = |name| gpu.kernels.get(name);
        let pair = |gated, plain| Ok::<_, CudaError>(Kernels { gated: get(gated)?, plain: get(plain)? });
        Ok(Self {
            silu: pair("gated_act_silu_f32", "act_silu_f32")?,
            gelu: pair("gated_act_gelu_f32", "act_gelu_f32")?,
            gelu_tanh: pair("gated_act_gelu_tanh_f32", "act_gelu_tanh_f32")?,
            clamped_swiglu: get("gated_act_clamped_swiglu_f32")?,
            none: get("act_none_f32")?,
        })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when the launch is refused.
    pub fn run(&self, device: &Device, call: &GatedActCall) -> Result<(), CudaError> {
        let GatedActCall { gate_up, inner, rows, cols, activation, out } = *call;
        let kernel = self.kernel(activation, inner)?;
        let gate = |stride| Rows { from: gate_up, stride };
        let (gate, up) = match inner {
            Inner::GateUp => {
                let from = gate_up.slice(cols.min(gate_up.len())..gate_up.len());
                (gate(2 * cols), Rows { from, stride: 2 * cols })
            }
            Inner::Up => (gate(cols), gate(cols)),
            Inner::Gate { up, stride } => (gate(cols), Rows { from: up, stride }),
        };
        launch(device, kernel, (gate, up), (rows, cols, out))
    }

    /// Makes the inputs of a matrix of rows as they are.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn rows(&self, device: &Device, call: &RowsCall) -> Result<(), CudaError> {
        let RowsCall { from, stride, rows, cols, out } = *call;
        let from = Rows { from, stride };
        launch(device, &self.none, (from, from), (rows, cols, out))
    }

    fn kernel(&self, activation: Activation, inner: Inner) -> Result<&Kernel, CudaError> {
        let has_gate = !matches!(inner, Inner::Up);
        let kernels = match activation {
            Activation::Silu => &self.silu,
            Activation::Gelu => &self.gelu,
            Activation::GeluTanh => &self.gelu_tanh,
            Activation::ClampedSwiglu if has_gate => return Ok(&self.clamped_swiglu),
            Activation::ClampedSwiglu => {
                return Err(CudaError::shape(OP, "a clamped SwiGLU without a gate".to_owned()));
            }
        };
        Ok(if has_gate { &kernels.gated } else { &kernels.plain })
    }
}

/// Rows that a kernel reads the first columns of.
#[derive(Clone, Copy)]
struct Rows {
    from: Span<f32>,
    stride: usize,
}

impl Rows {
    fn check(&self, rows: usize, cols: usize) -> Result<(), CudaError> {
        let Self { from, stride } = *self;
        let needed = if rows == 0 { 0 } else { (rows - 1) * stride + cols };
        let aligned = from.ptr().0.is_multiple_of(16) && stride.is_multiple_of(4);
        if from.len() < needed || stride < cols || !aligned {
            let (len, at) = (from.len(), from.ptr().0);
            return Err(CudaError::shape(
                OP,
                format!("{len} elements at {at:#x}, rows {stride} apart; {needed} are needed, aligned to 16 bytes"),
            ));
        }
        Ok(())
    }
}

fn launch(
    device: &Device,
    kernel: &Kernel,
    (gate, up): (Rows, Rows),
    (rows, cols, out): (usize, usize, ActOut),
) -> Result<(), CudaError> {
    out.check(OP, rows, cols)?;
    gate.check(rows, cols)?;
    up.check(rows, cols)?;
    if rows == 0 {
        return Ok(());
    }
    if rows > MAX_ROWS {
        return Err(CudaError::shape(OP, format!("{rows} rows; the limit is {MAX_ROWS}")));
    }
    let block: u32 = if rows <= FEW_ROWS { 64 } else { 256 };
    let (stride, up_stride) = (gate.stride as u32, up.stride as u32);
    let args = GatedActArgs { gate: gate.from.ptr(), up: up.from.ptr(), out, stride, up_stride };
    let launch = Launch { grid: [(cols as u32).div_ceil(4 * block), rows as u32, 1], block, shared_bytes: 0 };
    // SAFETY: both sides were checked to have room for the rows.
    unsafe { kernel.launch(device, launch, &args) }
}

#[cfg(test)]
mod tests {
    use super::GatedActArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<GatedActArgs>(), std::mem::offset_of!(GatedActArgs, stride)), (72, 64));
    }
}
