//! Sums of squares of what matrices are multiplied with, kept from step to step.

use crate::{
    Device,
    device::{DevicePtr, Kernel, KernelArgs, Launch, Span},
    error::CudaError,
    gpu::Gpu,
};

use super::{act_out::ActOut, moe::Routes};

const OP: &str = "input_sums";
/// Threads of a block, and columns that they have.
const THREADS: u32 = 256;
const BLOCK_COLS: usize = 64;

/// The kernel of the sums.
#[derive(Clone, Debug)]
pub struct InputSquares {
    kernel: Kernel,
}

/// The inputs of a matrix, or of the matrices of experts, to be added to their sums.
#[derive(Clone, Copy, Debug)]
pub struct InputSquaresCall {
    /// The inputs, of which there must be f16 rows.
    pub act: ActOut,
    /// Which of them each matrix gets.
    pub inputs: Inputs,
    /// Columns.
    pub cols: usize,
    /// The squares of each column, added up, `[matrices, cols]`.
    pub squares: Span<f64>,
    /// How many rows came to each matrix, `[matrices]`.
    pub counts: Span<u64>,
}

/// Which rows a matrix is multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Inputs {
    /// There is one matrix, which gets so many rows.
    Rows(usize),
    /// Each expert has a matrix, which gets the pairs that come to it.
    Pairs {
        /// All pairs.
        pairs: usize,
        /// Neighbouring pairs with the same row.
        pairs_per_input: usize,
        /// Which pairs come to whom.
        routes: Routes,
        /// Whether rows are multiplied by their pairs' weights.
        weighted: bool,
    },
}

#[repr(C)]
#[derive(Clone, Copy)]
struct InputSumsArgs {
    x: DevicePtr,
    squares: DevicePtr,
    counts: DevicePtr,
    order: DevicePtr,
    tiles: DevicePtr,
    weights: DevicePtr,
    stride: u32,
    cols: u32,
    rows: u32,
    num_tiles: u32,
    pairs_per_input: u32,
}

// SAFETY: `InputSumsArgs` of kernels/input_sums.cu.
unsafe impl KernelArgs for InputSumsArgs {}

impl InputSquares {
    /// Looks the kernel up.
    ///
    /// # Errors
    /// [`CudaError`] when it cannot be loaded.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self { kernel: gpu.kernels.get("input_sums")? })
    }

    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit the sizes or there are no f16 rows, [`CudaError::Driver`].
    pub fn run(&self, device: &Device, call: &InputSquaresCall) -> Result<(), CudaError> {
        let args = call.args()?;
        if call.inputs.num_rows() == 0 {
            return Ok(());
        }
        let grid = [call.cols.div_ceil(BLOCK_COLS) as u32, call.counts.len() as u32, 1];
        // SAFETY: the buffers were checked to hold rows and sums; what routes say lies within the step by their contract.
        unsafe { self.kernel.launch(device, Launch { grid, block: THREADS, shared_bytes: 0 }, &args) }
    }
}

impl Inputs {
    /// Rows of inputs.
    fn num_rows(&self) -> usize {
        match *self {
            Self::Rows(rows) => rows,
            Self::Pairs { pairs, pairs_per_input, .. } => pairs / pairs_per_input.max(1),
        }
    }
}

impl InputSquaresCall {
    fn args(&self) -> Result<InputSumsArgs, CudaError> {
        let Self { act, inputs, cols, squares, counts } = *self;
        act.check(OP, inputs.num_rows(), cols)?;
        if act.half == DevicePtr::NULL {
            return refuse("the inputs have no f16 rows".to_owned());
        }
        let matrices = counts.len();
        if matrices == 0 || squares.len() < matrices * cols {
            return refuse(format!("{} sums for {matrices} matrices of {cols} columns", squares.len()));
        }
        let args = InputSumsArgs {
            x: act.half,
            squares: squares.ptr(),
            counts: counts.ptr(),
            order: DevicePtr::NULL,
            tiles: DevicePtr::NULL,
            weights: DevicePtr::NULL,
            stride: act.half_stride,
            cols: cols as u32,
            rows: inputs.num_rows() as u32,
            num_tiles: 0,
            pairs_per_input: 1,
        };
        match inputs {
            Inputs::Rows(_) if matrices == 1 => Ok(args),
            Inputs::Rows(_) => refuse(format!("the same rows for {matrices} matrices")),
            Inputs::Pairs { pairs, pairs_per_input, routes, weighted } => {
                if pairs_per_input == 0 || !pairs.is_multiple_of(pairs_per_input) {
                    return refuse(format!("{pairs} pairs, {pairs_per_input} to a row"));
                }
                routes.check(pairs, matrices)?;
                Ok(InputSumsArgs {
                    order: routes.order.ptr(),
                    tiles: routes.tiles.ptr(),
                    weights: if weighted { routes.weights.ptr() } else { DevicePtr::NULL },
                    num_tiles: routes.grouping.max_tiles(pairs, matrices) as u32,
                    pairs_per_input: pairs_per_input as u32,
                    ..args
                })
            }
        }
    }
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    use super::InputSumsArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<InputSumsArgs>(), std::mem::offset_of!(InputSumsArgs, stride)), (72, 48));
    }
}
