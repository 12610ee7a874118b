//! Reads, encodes and writes the tensors of a result in pieces.

use std::{
    panic,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use gguf::{GgmlType, Gguf, Metadata, NewTensor, TensorInfo, Writer, WriterOptions};

use crate::{ConvertError, encode, recipe::Recipe};

/// Weights of a piece, which is written at once.
const PIECE_WEIGHTS: usize = 1 << 21;
/// Weights that are read and encoded together.
const CACHED_WEIGHTS: usize = 1 << 15;

/// Called with the bytes written so far and those of the whole result.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A tensor of the result and its type.
pub(crate) struct Planned {
    pub(crate) recipe: Recipe,
    pub(crate) ggml_type: GgmlType,
    /// Where it stands already as it shall be.
    pub(crate) copied: Option<Copied>,
}

/// A tensor of a file that is taken over byte by byte.
#[derive(Clone)]
pub(crate) struct Copied {
    pub(crate) gguf: Arc<Gguf>,
    pub(crate) tensor: TensorInfo,
}

impl Planned {
    /// What the file's list of tensors says of it; dimensions fastest-varying first.
    pub(crate) fn entry(&self) -> NewTensor {
        let Recipe { name, shape, .. } = &self.recipe;
        NewTensor { name: name.clone(), shape: shape.iter().rev().copied().collect(), ggml_type: self.ggml_type }
    }

    /// Encodes rows into `out`, whatever it held before.
    fn encode_rows(&self, first_row: usize, num_rows: usize, out: &mut Vec<u8>) -> Result<(), ConvertError> {
        out.clear();
        let num_cols = self.recipe.num_cols();
        let row_bytes = self.ggml_type.row_bytes(num_cols as u64).unwrap_or(0) as usize;
        if let Some(Copied { gguf, tensor }) = &self.copied {
            out.extend_from_slice(&gguf.data(tensor)[first_row * row_bytes..][..num_rows * row_bytes]);
            return Ok(());
        }
        if self.recipe.is_stored_as(self.ggml_type) {
            out.resize(num_rows * row_bytes, 0);
            return self.recipe.read_stored(first_row, row_bytes.max(1), out);
        }
        // A few rows at a time, so that floats stay in the cache.
        let rows_at_once = (CACHED_WEIGHTS / num_cols.max(1)).clamp(1, num_rows.max(1));
        let mut weights = vec![0.0; rows_at_once * num_cols];
        out.reserve(num_rows * row_bytes);
        for row in (first_row..first_row + num_rows).step_by(rows_at_once) {
            let weights = &mut weights[..rows_at_once.min(first_row + num_rows - row) * num_cols];
            self.recipe.read(row, weights)?;
            encode::encode(self.ggml_type, weights, num_cols, out).map_err(|(idx, what)| {
                let source = self.recipe.source(row + idx / num_cols.max(1)).unwrap_or("its source");
                ConvertError::tensor(&self.recipe.name, format!("`{source}` {what}"))
            })?;
        }
        Ok(())
    }

    fn num_bytes(&self) -> u64 {
        let row_bytes = self.ggml_type.row_bytes(self.recipe.num_cols() as u64).unwrap_or(0);
        row_bytes * self.recipe.num_rows() as u64
    }
}

/// Whole rows of a tensor.
#[derive(Clone, Copy)]
struct Piece<'a> {
    tensor: &'a Planned,
    first_row: usize,
    num_rows: usize,
}

/// Writes all tensors; pieces are encoded by several threads while the ones before them are written.
pub(crate) fn write(
    path: &Path,
    metadata: &Metadata,
    tensors: &[Planned],
    options: &WriterOptions,
    progress: Progress<'_>,
) -> Result<Vec<PathBuf>, ConvertError> {
    let mut writer = Writer::create(path, metadata, tensors.iter().map(Planned::entry).collect(), options)?;
    let num_threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let total = tensors.iter().map(Planned::num_bytes).sum();
    let pieces: Vec<_> = tensors.iter().flat_map(pieces).collect();
    let mut done = 0;
    // Gives the buffers back, to be filled again: fresh memory would cost as much as copying does.
    let mut write = |encoded: Vec<Vec<u8>>| -> Result<Vec<Vec<u8>>, ConvertError> {
        for bytes in &encoded {
            writer.write(bytes)?;
            done += bytes.len() as u64;
        }
        progress(done, total);
        Ok(encoded)
    };
    let (mut ready, mut spare): (_, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    for batch in pieces.chunks(num_threads) {
        let before = std::mem::take(&mut ready);
        ready = thread::scope(|scope| {
            let mut threads = Vec::new();
            for &piece in batch {
                let buffer = spare.pop().unwrap_or_default();
                threads.push(scope.spawn(move || piece.encode(buffer)));
            }
            spare.extend(write(before)?);
            let encoded = threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
            encoded.collect::<Result<Vec<_>, ConvertError>>()
        })?;
    }
    write(ready)?;
    Ok(writer.finish()?)
}

impl Piece<'_> {
    fn encode(self, mut buffer: Vec<u8>) -> Result<Vec<u8>, ConvertError> {
        self.tensor.encode_rows(self.first_row, self.num_rows, &mut buffer)?;
        Ok(buffer)
    }
}

fn pieces(tensor: &Planned) -> impl Iterator<Item = Piece<'_>> {
    let num_rows = tensor.recipe.num_rows();
    let rows_at_once = (PIECE_WEIGHTS / tensor.recipe.num_cols().max(1)).max(1);
    (0..num_rows).step_by(rows_at_once).map(move |first_row| Piece {
        tensor,
        first_row,
        num_rows: rows_at_once.min(num_rows - first_row),
    })
}
