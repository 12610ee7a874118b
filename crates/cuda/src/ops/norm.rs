//! Norms of the residual stream, with the residual addition before them and the inputs of a matrix behind them.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
    ops::act_out::ActOut,
};

const OP: &str = "norm";
/// Threads of a block at most.
const MAX_THREADS: usize = 512;
/// Columns of a piece: what a thread takes at a time.
const PIECE_COLS: usize = 8;
/// Pieces per thread of the kernels of a kind.
const PIECES: [usize; 3] = [1, 2, 4];

/// The kernels of the norms, each by its pieces.
#[derive(Debug)]
pub struct Norms {
    none: [Kernel; 3],
    rms: [Kernel; 3],
    layer: [Kernel; 3],
}

/// What is done to a row `v`.
#[derive(Clone, Copy, Debug)]
pub enum Norm {
    /// Nothing.
    None,
    /// `v / sqrt(mean(v^2) + eps) * weight`.
    Rms {
        /// `[cols]`.
        weight: Span<f32>,
    },
    /// `(v - mean(v)) / sqrt(var(v) + eps) * weight + bias`.
    Layer {
        /// `[cols]`; none is all ones.
        weight: Option<Span<f32>>,
        /// `[cols]`; none is all zeros.
        bias: Option<Span<f32>>,
    },
}

/// Which rows are normed.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// The first so many.
    First(usize),
    /// These rows of `x`, in this order; `u32::MAX` is padding. Read before the step: uploaded, not computed.
    Picked(Span<u32>),
}

/// What is added to the residual stream before the norm.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// `[rows, cols]`.
    pub values: Span<f32>,
    /// `[cols]`: the values are RMS-normed with this weight before they are added.
    pub weight: Option<Span<f32>>,
    /// What they are multiplied by, last of all.
    pub scale: f32,
    /// `[1]`: what the sum is multiplied by.
    pub sum_scale: Option<Span<f32>>,
}

/// Where normed rows go: one place at least.
#[derive(Clone, Copy, Debug)]
pub struct Normed {
    /// As inputs of a matrix.
    pub act: Option<ActOut>,
    /// As f32, `[rows, cols]`; may be `x` itself where all rows are normed.
    pub rows: Option<Span<f32>>,
}

impl From<ActOut> for Normed {
    fn from(act: ActOut) -> Self {
        Self { act: Some(act), rows: None }
    }
}

/// One call: `x += branch` where there is a branch, then `out = norm(x)` where that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct NormCall {
    /// The residual stream, `[rows, cols]`.
    pub x: Span<f32>,
    /// A multiple of 4, of 32 where int8 is written, at most 16384.
    pub cols: usize,
    /// The rows of the output.
    pub rows: Rows,
    /// Only with [`Rows::First`].
    pub branch: Option<Branch>,
    /// The norm, and the place of the normed rows.
    pub norm: Option<(Norm, Normed)>,
    /// Added to the mean square.
    pub eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NormArgs {
    x: DevicePtr,
    branch: DevicePtr,
    branch_weight: DevicePtr,
    weight: DevicePtr,
    bias: DevicePtr,
    x_scale: DevicePtr,
    row_ids: DevicePtr,
    rows: DevicePtr,
    out: ActOut,
    cols: u32,
    eps: f32,
    branch_scale: f32,
}

// SAFETY: `NormArgs` of kernels/rms_norm.cu.
unsafe impl KernelArgs for NormArgs {}

impl Norms {
    /// Looks the kernels up.
    ///
    /// # Errors
    /// [`CudaError`] when they cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let get = |name| gpu.kernels.get(name);
        Ok(Self {
            none: [get("no_norm_f32_1")?, get("no_norm_f32_2")?, get("no_norm_f32_4")?],
            rms: [get("rms_norm_f32_1")?, get("rms_norm_f32_2")?, get("rms_norm_f32_4")?],
            layer: [get("layer_norm_f32_1")?, get("layer_norm_f32_2")?, get("layer_norm_f32_4")?],
        })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes, [`CudaError::Driver`] when the launch is refused.
    pub fn run(&self, device: &Device, call: &NormCall) -> Result<(), CudaError> {
        let args = call.args()?;
        let num_rows = call.num_rows();
        if num_rows == 0 {
            return Ok(());
        }
        let (kernel_idx, block) = geometry(call.cols)?;
        let kernels = match call.norm {
            // Which of them does not matter: they leave after the addition.
            None | Some((Norm::Rms { .. }, _)) => &self.rms,
            Some((Norm::None, _)) => &self.none,
            Some((Norm::Layer { .. }, _)) => &self.layer,
        };
        let launch = Launch { grid: [num_rows as u32, 1, 1], block, shared_bytes: 0 };
        // SAFETY: `args` checked that every address has room for the rows; picked row ids are rows of `x` by contract.
        unsafe { kernels[kernel_idx].launch(device, launch, &args) }
    }
}

impl NormCall {
    fn num_rows(&self) -> usize {
        match self.rows {
            Rows::First(num_rows) => num_rows,
            Rows::Picked(ids) => ids.len(),
        }
    }

    fn args(&self) -> Result<NormArgs, CudaError> {
        let Self { x, cols, rows, branch, norm, eps } = *self;
        if !cols.is_multiple_of(4) {
            return refuse(format!("rows of {cols} columns; they must be a multiple of 4"));
        }
        let needed = match rows {
            Rows::First(num_rows) => num_rows * cols,
            Rows::Picked(_) => cols,
        };
        check_len("x", x, needed)?;
        let mut args = NormArgs {
            x: x.ptr(),
            branch: DevicePtr::NULL,
            branch_weight: DevicePtr::NULL,
            weight: DevicePtr::NULL,
            bias: DevicePtr::NULL,
            x_scale: DevicePtr::NULL,
            row_ids: DevicePtr::NULL,
            rows: DevicePtr::NULL,
            out: ActOut::NONE,
            cols: cols as u32,
            eps,
            branch_scale: branch.map_or(1.0, |branch| branch.scale),
        };
        if let Rows::Picked(ids) = rows {
            if branch.is_some() {
                return refuse("a branch can be added to all rows only, not to picked ones".to_owned());
            }
            args.row_ids = ids.ptr();
        }
        if let Some(branch) = branch {
            check_len("branch", branch.values, needed)?;
            args.branch = branch.values.ptr();
            if let Some(scale) = branch.sum_scale {
                check_len("the scale of sums", scale, 1)?;
                args.x_scale = scale.ptr();
            }
            if let Some(weight) = branch.weight {
                check_len("branch weight", weight, cols)?;
                args.branch_weight = weight.ptr();
            }
        }
        if let Some((norm, out)) = norm {
            if let Some(act) = out.act {
                act.check(OP, self.num_rows(), cols)?;
                args.out = act;
            }
            if let Some(rows) = out.rows {
                check_len("normed rows", rows, self.num_rows() * cols)?;
                args.rows = rows.ptr();
            }
            if out.act.is_none() && out.rows.is_none() {
                return refuse("normed rows are wanted nowhere".to_owned());
            }
            let (weight, bias) = norm.parts();
            for (name, part, place) in [("weight", weight, &mut args.weight), ("bias", bias, &mut args.bias)] {
                if let Some(part) = part {
                    check_len(name, part, cols)?;
                    *place = part.ptr();
                }
            }
        }
        Ok(args)
    }
}

impl Norm {
    /// Weight and bias.
    fn parts(self) -> (Option<Span<f32>>, Option<Span<f32>>) {
        match self {
            Self::None => (None, None),
            Self::Rms { weight } => (Some(weight), None),
            Self::Layer { weight, bias } => (weight, bias),
        }
    }
}

/// The kernel for so many columns and its threads; they depend on nothing else, so that sums do not either.
fn geometry(cols: usize) -> Result<(usize, u32), CudaError> {
    let Some(kernel_idx) = PIECES.iter().position(|pieces| cols <= pieces * PIECE_COLS * MAX_THREADS) else {
        let limit = PIECES[2] * PIECE_COLS * MAX_THREADS;
        return refuse(format!("rows of {cols} columns; the limit is {limit}"));
    };
    let threads = cols.div_ceil(PIECE_COLS * PIECES[kernel_idx]).next_multiple_of(32);
    Ok((kernel_idx, threads as u32))
}

fn check_len(name: &str, span: Span<f32>, needed: usize) -> Result<(), CudaError> {
    if span.len() < needed {
        return refuse(format!("{name} has {} elements, {needed} are needed", span.len()));
    }
    if !span.ptr().0.is_multiple_of(16) {
        return refuse(format!("{name} at {:#x}, not aligned to 16 bytes", span.ptr().0));
    }
    Ok(())
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    use super::{NormArgs, PIECE_COLS, PIECES, geometry};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<NormArgs>(), std::mem::offset_of!(NormArgs, cols)), (128, 112));
    }

    #[test]
    fn threads_cover_every_column() {
        for cols in (4..=16_384).step_by(4) {
            let (kernel_idx, block) = geometry(cols).unwrap();
            assert!(block <= 512 && block as usize * PIECE_COLS * PIECES[kernel_idx] >= cols, "{cols}");
        }
        assert!(geometry(16_388).is_err());
    }
}
