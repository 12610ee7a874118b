//! Products of pairs with their experts' matrices.

use crate::{
    Device,
    device::{DevicePtr, KernelArgs, Launch, Span},
    error::CudaError,
    ops::{
        act_out::{ActOut, ActQ8},
        matmul::{ActivationKind, MAX_PAIR_WARPS, Matrix, Planes},
    },
};

use super::{Grouping, Routes, TILE_ROWS, padded_rows, refuse};

/// Tiles of rows of a block on tensor cores, a warp each.
const BLOCK_TILES: usize = 8;

/// Experts' products, with the kernels of their matrices' formats.
#[derive(Clone, Copy, Debug)]
pub struct ExpertMatmul;

/// Products with one matrix of each expert, or with two side by side.
#[derive(Clone, Copy)]
pub struct ExpertMatmulCall<'a> {
    /// The inputs, `[pairs / pairs_per_input, cols]`, of the kind that the matrices' format asks for.
    pub act: ActOut,
    /// Neighbouring pairs with the same input.
    pub pairs_per_input: usize,
    /// All pairs.
    pub pairs: usize,
    /// One or two matrices `[num_experts * padded_rows(rows), cols]`.
    pub matrices: &'a [&'a Matrix],
    /// Rows of an expert, in each matrix.
    pub rows: usize,
    /// What is added to the products of each matrix, `[num_experts * rows]`.
    pub biases: [Option<Span<f32>>; 2],
    /// Whether the products are multiplied by the pairs' weights.
    pub weighted: bool,
    /// Experts of each matrix.
    pub num_experts: usize,
    /// Which pairs belong to which expert.
    pub routes: Routes,
    /// `[pairs, matrices * rows]`.
    pub out: Span<f32>,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MoeMatmulArgs {
    planes: [Planes; 2],
    act: ActQ8,
    half: DevicePtr,
    out: DevicePtr,
    order: DevicePtr,
    tiles: DevicePtr,
    scales: [DevicePtr; 2],
    biases: [DevicePtr; 2],
    weights: DevicePtr,
    half_stride: u32,
    out_stride: u32,
    rows: u32,
    chunks: u32,
    pairs_per_input: u32,
}

// SAFETY: `MoeMatmulArgs` of kernels/include/moe_matmul.cuh.
unsafe impl KernelArgs for MoeMatmulArgs {}

impl ExpertMatmul {
    /// What inputs products with an expert's matrix want: f16 for many pairs or f16 weights, else int8.
    #[must_use]
    pub fn activation_kind(matrix: &Matrix, grouping: Grouping) -> ActivationKind {
        match grouping {
            Grouping::Single | Grouping::Few => matrix.format().activation(),
            Grouping::Many => ActivationKind::Half,
        }
    }

    /// Queues one launch, or two where the matrices differ in format.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when buffers do not fit or the inputs are of the other kind, [`CudaError::Driver`].
    pub fn run(self, device: &Device, call: &ExpertMatmulCall<'_>) -> Result<(), CudaError> {
        call.check()?;
        if call.pairs == 0 {
            return Ok(());
        }
        match *call.matrices {
            [a, b] if a.format() != b.format() => {
                self.launch(device, call, (&[a], 0))?;
                self.launch(device, call, (&[b], 1))
            }
            ref all => self.launch(device, call, (all, 0)),
        }
    }

    /// Multiplies by some of the matrices, the first of which is the call's number `first`.
    fn launch(
        self,
        device: &Device,
        call: &ExpertMatmulCall<'_>,
        (matrices, first): (&[&Matrix], usize),
    ) -> Result<(), CudaError> {
        let chunks = matrices[0].layout().chunks;
        let bias = |idx: usize| call.biases[idx].map_or(DevicePtr::NULL, |bias| bias.ptr());
        let args = MoeMatmulArgs {
            planes: [matrices[0].planes(), matrices[matrices.len() - 1].planes()],
            act: call.act.q8,
            half: call.act.half,
            out: call.out.slice(first * call.rows..call.out.len()).ptr(),
            order: call.routes.order.ptr(),
            tiles: call.routes.tiles.ptr(),
            scales: [matrices[0], matrices[matrices.len() - 1]].map(expert_scales),
            biases: [bias(first), bias(1)],
            weights: if call.weighted { call.routes.weights.ptr() } else { DevicePtr::NULL },
            half_stride: call.act.half_stride,
            out_stride: (call.matrices.len() * call.rows) as u32,
            rows: call.rows as u32,
            chunks: chunks as u32,
            pairs_per_input: call.pairs_per_input as u32,
        };
        let units = chunks / matrices[0].format().planes().span;
        let (kernels, row_tiles) = (matrices[0].kernels(), call.rows.div_ceil(TILE_ROWS));
        let num_blocks = matrices.len() * row_tiles * call.pairs;
        let (kernel, blocks, warps) = match call.routes.grouping {
            Grouping::Single => {
                let warps = kernels.expert.warps(num_blocks, chunks, device.info().num_sms as usize);
                (&kernels.expert.kernel, row_tiles, warps as usize)
            }
            Grouping::Few => (&kernels.experts, row_tiles, units.clamp(1, MAX_PAIR_WARPS)),
            Grouping::Many => (&kernels.expert_tiles, row_tiles.div_ceil(BLOCK_TILES), BLOCK_TILES),
        };
        let tiles = call.routes.grouping.max_tiles(call.pairs, call.num_experts);
        let grid = [(matrices.len() * blocks) as u32, tiles as u32, 1];
        let launch = Launch { grid, block: 32 * warps as u32, shared_bytes: 0 };
        // SAFETY: the call was checked; the planes are the matrices', which hold every expert.
        unsafe { kernel.launch(device, launch, &args) }
    }
}

fn expert_scales(matrix: &Matrix) -> DevicePtr {
    matrix.expert_scales().map_or(DevicePtr::NULL, |scales| scales.ptr())
}

impl ExpertMatmulCall<'_> {
    fn check(&self) -> Result<(), CudaError> {
        let (pairs, num_experts, num_matrices) = (self.pairs, self.num_experts, self.matrices.len());
        if !(1..=2).contains(&num_matrices) || num_experts == 0 {
            return refuse(format!(
                "{num_matrices} matrices of {num_experts} experts; one or two of some are possible"
            ));
        }
        self.routes.check(pairs, num_experts)?;
        let (rows, cols) = (self.rows, self.act.q8.cols as usize);
        for matrix in self.matrices {
            if matrix.rows() != padded_rows(rows) * num_experts || matrix.cols() != cols || rows == 0 {
                return refuse(format!(
                    "a matrix of {} rows and {} columns for {num_experts} experts of {rows} rows (filled up to a \
                     multiple of {TILE_ROWS}) and inputs of {cols} columns",
                    matrix.rows(),
                    matrix.cols()
                ));
            }
            if let Some(scales) = matrix.expert_scales().filter(|scales| scales.len() < num_experts) {
                return refuse(format!("{} scales of {num_experts} experts", scales.len()));
            }
            let plane = match ExpertMatmul::activation_kind(matrix, self.routes.grouping) {
                ActivationKind::Int8 => self.act.q8.q,
                ActivationKind::Half => self.act.half,
            };
            if plane == DevicePtr::NULL {
                return refuse(format!("inputs of the other kind than {} weights want", matrix.format().name()));
            }
        }
        if let Some(bias) = self.biases.iter().flatten().find(|bias| bias.len() < rows * num_experts) {
            return refuse(format!("a bias of {} elements for {num_experts} experts of {rows} rows", bias.len()));
        }
        let whole = self.pairs_per_input > 0 && pairs.is_multiple_of(self.pairs_per_input);
        if !whole || pairs / self.pairs_per_input > self.act.tokens as usize {
            let (each, room) = (self.pairs_per_input, self.act.tokens);
            return refuse(format!("{pairs} pairs, {each} to each of {room} inputs at most"));
        }
        let needed = pairs * num_matrices * rows;
        if self.out.len() < needed {
            return refuse(format!("out has {} elements, {needed} are needed", self.out.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MoeMatmulArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernel() {
        assert_eq!((size_of::<MoeMatmulArgs>(), std::mem::offset_of!(MoeMatmulArgs, half_stride)), (192, 168));
    }
}
