//! Token embeddings: rows of the embedding matrix as f32.

use crate::{
    Device,
    device::{Launch, Span},
    error::CudaError,
};

use super::{dequant::DequantArgs, matmul::Matrix};

const OP: &str = "embed";
/// Added to an id: it is not a row of the matrix but a place in [`EmbedCall::chosen`], where the row stands.
pub const CHOSEN: u32 = 1 << 31;

/// The lookup, with the kernel of the matrix's format.
#[derive(Clone, Copy, Debug)]
pub struct Embed;

/// One lookup.
#[derive(Clone, Copy)]
pub struct EmbedCall<'a> {
    /// `[vocab, hidden]`.
    pub matrix: &'a Matrix,
    /// Rows to read, or [`CHOSEN`] and where in `chosen` the row stands; a row or place beyond the end (padding) leaves
    /// its output alone.
    pub ids: Span<u32>,
    /// Rows that the device chose.
    pub chosen: Span<u32>,
    /// `[ids, hidden]`.
    pub out: Span<f32>,
    /// What every value is multiplied by.
    pub factor: f32,
    /// `[hidden]`, added to every row.
    pub added: Option<Span<f32>>,
}

impl Embed {
    /// Queues one launch.
    ///
    /// # Errors
    /// [`CudaError::Shape`] when `out` is too short, [`CudaError::Driver`] when the launch is refused.
    pub fn run(self, device: &Device, call: &EmbedCall<'_>) -> Result<(), CudaError> {
        let EmbedCall { matrix, ids, out, added, .. } = *call;
        let needed = ids.len() * matrix.cols();
        if out.len() < needed {
            return Err(CudaError::shape(OP, format!("out has {} elements, {needed} are needed", out.len())));
        }
        if !matrix.cols().is_multiple_of(4) {
            return Err(CudaError::shape(
                OP,
                format!("rows of {} columns; they must be a multiple of 4", matrix.cols()),
            ));
        }
        if let Some(added) = added.filter(|added| added.len() < matrix.cols()) {
            return Err(CudaError::shape(OP, format!("{} elements to add to {}", added.len(), matrix.cols())));
        }
        for ptr in [Some(out.ptr()), added.map(|added| added.ptr())].into_iter().flatten() {
            if !ptr.0.is_multiple_of(16) {
                return Err(CudaError::shape(OP, format!("rows at {:#x}, not aligned to 16 bytes", ptr.0)));
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let args = DequantArgs::rows(call);
        let launch = Launch { grid: [ids.len() as u32, 1, 1], block: 128, shared_bytes: 0 };
        // SAFETY: `out` has room for every row; the kernel skips ids beyond the matrix.
        unsafe { matrix.kernels().rows.launch(device, launch, &args) }
    }
}
