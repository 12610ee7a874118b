//! Weights back to f16 rows, for a library's products; and the arguments that the token embedding shares.

use crate::{
    Device,
    device::{DevicePtr, KernelArgs, Launch, Span},
    error::CudaError,
};

use super::{
    embed::EmbedCall,
    matmul::{Matrix, Planes},
};

const OP: &str = "dequant";
/// Rows of a tile: launches start and end at whole tiles.
const TILE_ROWS: usize = 16;
/// Warps of a block, each with a chunk of 128 columns.
const WARPS: usize = 8;

/// Brings weights to f16, with the kernel of their format.
#[derive(Clone, Copy, Debug)]
pub struct Dequant;

/// The kernels' `DequantArgs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DequantArgs {
    planes: Planes,
    out: DevicePtr,
    ids: DevicePtr,
    chosen: DevicePtr,
    added: DevicePtr,
    rows: u32,
    cols: u32,
    chunks: u32,
    first_tile: u32,
    factor: f32,
    num_chosen: u32,
}

// SAFETY: `DequantArgs` of kernels/include/quant_dequant.cuh.
unsafe impl KernelArgs for DequantArgs {}

impl DequantArgs {
    fn panel(matrix: &Matrix, out: DevicePtr, first_tile: usize) -> Self {
        let layout = matrix.layout();
        Self {
            planes: matrix.planes(),
            out,
            ids: DevicePtr::NULL,
            chosen: DevicePtr::NULL,
            added: DevicePtr::NULL,
            rows: layout.rows as u32,
            cols: layout.cols as u32,
            chunks: layout.chunks as u32,
            first_tile: first_tile as u32,
            factor: 1.0,
            num_chosen: 0,
        }
    }

    /// The rows that a lookup names.
    pub(super) fn rows(call: &EmbedCall<'_>) -> Self {
        let EmbedCall { matrix, ids, chosen, out, factor, added } = *call;
        Self {
            ids: ids.ptr(),
            chosen: chosen.ptr(),
            num_chosen: chosen.len() as u32,
            factor,
            added: added.map_or(DevicePtr::NULL, |added| added.ptr()),
            ..Self::panel(matrix, out.ptr(), 0)
        }
    }
}

impl Dequant {
    /// Queues one launch: rows `first_row ..` of the matrix, as many whole rows as `out` `[rows, cols]` f16 has (at most
    /// to the matrix's end). The values are those that products of several tokens multiply by.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when the rows are not whole tiles of 16 or `out` is misaligned, [`CudaError::Driver`].
    pub fn run(self, device: &Device, matrix: &Matrix, first_row: usize, out: Span<u16>) -> Result<(), CudaError> {
        let rows = (out.len() / matrix.cols()).min(matrix.rows().saturating_sub(first_row));
        let ends_tile = rows.is_multiple_of(TILE_ROWS) || first_row + rows == matrix.rows();
        if rows == 0 || !first_row.is_multiple_of(TILE_ROWS) || !ends_tile || !out.ptr().0.is_multiple_of(16) {
            return Err(CudaError::shape(OP, format!("{rows} rows from {first_row} on into {out:?}: not whole tiles")));
        }
        let args = DequantArgs::panel(matrix, out.ptr(), first_row / TILE_ROWS);
        let grid = [(args.chunks as usize).div_ceil(WARPS) as u32, rows.div_ceil(TILE_ROWS) as u32, 1];
        let launch = Launch { grid, block: 32 * WARPS as u32, shared_bytes: 0 };
        // SAFETY: `out` holds the rows; the planes are the matrix's.
        unsafe { matrix.kernels().dequant.launch(device, launch, &args) }
    }
}

#[cfg(test)]
mod tests {
    use super::DequantArgs;

    #[test]
    fn arguments_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<DequantArgs>(), std::mem::offset_of!(DequantArgs, first_tile)), (88, 76));
    }
}
