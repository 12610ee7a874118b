//! Sums of squares of what matrices are multiplied with.

use std::ops::Range;

use quant::Activations;
use types::InputSums;

use crate::weights::{Model, Weight};

/// Adds rows of the inputs of matrix `index` of a weight. Sums are of the file's tensors: where a weight is a part of one, its
/// inputs count for the whole; what was made of others when the model was loaded has none.
pub(crate) fn add(
    sums: &mut InputSums,
    model: &Model,
    (weight, index): (&Weight, usize),
    inputs: &Activations,
    rows: Range<usize>,
) {
    let Some(whole) = weight.tensor().and_then(|tensor| model.gguf.tensor(&tensor.name)) else { return };
    let (num_matrices, index) = match whole.shape.get(2) {
        Some(num_matrices) => (*num_matrices, index),
        // A matrix, or one cut into heads.
        None => (1, 0),
    };
    let (squares, count) = sums.tensor(&whole.name, whole.shape[0], num_matrices).matrix(index);
    *count += rows.len() as u64;
    for row in rows {
        squares.iter_mut().zip(inputs.row(row)).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
    }
}
