//! Looks for weights that are no numbers: a file that was damaged, or quantized from damaged weights.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use quant::{Format, Isa};

use crate::{Gguf, TensorInfo};

/// Weights decoded at a time at most; a row of a model's matrix has some thousands.
const MAX_CHUNK_WEIGHTS: usize = 1 << 20;

/// A weight that is infinite or not a number.
#[derive(Clone, Debug, PartialEq)]
pub struct BadWeight {
    /// The tensor.
    pub tensor: String,
    /// The row, all dimensions but the first counted through.
    pub row: usize,
    /// Where in the row.
    pub column: usize,
    /// What it decodes to.
    pub value: f32,
    /// How it is stored; of blocks, a scale is most often what is wrong.
    pub ggml_type: quant::GgmlType,
}

impl fmt::Display for BadWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, row, column, value, ggml_type } = self;
        let kind = if ggml_type.block_len() > 1 { ", or the scale of its block is damaged" } else { "" };
        write!(f, "tensor `{tensor}` ({ggml_type}) holds {value} at row {row}, column {column}{kind}")
    }
}

impl std::error::Error for BadWeight {}

impl Gguf {
    /// Decodes all weights of the tensors that `wanted` picks and gives the first bad one in the order of the file.
    /// Tensors of types that cannot be decoded are passed over; `checked` is told the bytes of each tensor.
    #[must_use]
    pub fn find_bad_weight(
        &self,
        num_threads: usize,
        wanted: impl Fn(&TensorInfo) -> bool,
        checked: impl Fn(u64) + Sync,
    ) -> Option<BadWeight> {
        let tensors: Vec<&TensorInfo> = self.tensors().iter().filter(|t| wanted(t)).collect();
        let (next, first_bad) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let work = || {
            let mut buffer = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                // Tensors behind a bad one no longer matter; those before it were all handed out.
                let tensor = tensors.get(i).filter(|_| i < first_bad.load(Ordering::Relaxed))?;
                if let Some(bad) = self.bad_weight_of(tensor, &mut buffer) {
                    first_bad.fetch_min(i, Ordering::Relaxed);
                    return Some((i, bad));
                }
                checked(tensor.num_bytes as u64);
            }
        };
        let found = thread::scope(|scope| {
            let threads: Vec<_> = (1..num_threads.min(tensors.len())).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = threads.into_iter().filter_map(|thread| thread.join().ok().flatten());
            others.chain(own).min_by_key(|(i, _)| *i)
        });
        found.map(|(_, bad)| bad)
    }

    fn bad_weight_of(&self, tensor: &TensorInfo, buffer: &mut Vec<f32>) -> Option<BadWeight> {
        let format = Format::of(tensor.ggml_type).ok()?;
        let (isa, num_cols) = (Isa::detect(), tensor.shape[0]);
        // A row is decoded in pieces of whole blocks, so that a hostile shape takes no memory.
        let piece = num_cols.min(MAX_CHUNK_WEIGHTS / tensor.ggml_type.block_len() * tensor.ggml_type.block_len());
        buffer.resize(piece, 0.0);
        for (row, bytes) in self.data(tensor).chunks(format.row_bytes(num_cols)).enumerate() {
            for (i, part) in bytes.chunks(format.row_bytes(piece)).enumerate() {
                let len = piece.min(num_cols - i * piece);
                format.decode_row(isa, part, &mut buffer[..len]);
                if let Some(at) = buffer[..len].iter().position(|weight| !weight.is_finite()) {
                    let (column, value) = (i * piece + at, buffer[at]);
                    let (tensor, ggml_type) = (tensor.name.clone(), tensor.ggml_type);
                    return Some(BadWeight { tensor, row, column, value, ggml_type });
                }
            }
        }
        None
    }
}
