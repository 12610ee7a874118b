//! Sees what matrices are multiplied with, for importance matrices.

use std::ops::Range;

use gguf::TensorInfo;
use quant::Activations;

/// Sees the inputs of matrices, in the order of the forward pass.
pub trait InputObserver: Send {
    /// `rows` of the inputs are about to be multiplied with matrix `index` of a tensor: an expert or a head of several, or 0
    /// of one.
    fn observe(&mut self, tensor: &TensorInfo, index: usize, inputs: &Activations, rows: Range<usize>);
}
