//! Writes importance matrices: sums of the squares of what each matrix is multiplied with.

use std::path::Path;

use gguf::{Array, GgmlType, GgufError, Metadata, NewTensor, Value, ValueType, WriteError, Writer, WriterOptions};
use types::InputSums;

/// Where sums come from, for the file.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The text.
    pub dataset: String,
    /// Chunks of it.
    pub num_chunks: u64,
    /// Tokens of a chunk.
    pub chunk_size: u64,
}

/// Whether a tensor has an importance: those outside of the layers, the embedding and the output, have types of their own.
#[must_use]
pub fn has_importance(tensor: &str) -> bool {
    tensor.starts_with("blk.")
}

/// Writes an importance matrix in llama.cpp's GGUF format.
///
/// # Errors
/// [`WriteError`] when a sum is not finite or the file cannot be written.
pub fn write_imatrix(sums: &InputSums, path: &Path, origin: &Origin, overwrite: bool) -> Result<(), WriteError> {
    let mut metadata = Metadata::default();
    metadata.insert("general.type", Value::String("imatrix".to_owned()));
    metadata.insert("imatrix.datasets", Value::Array(Array::String([&origin.dataset].into_iter().collect())));
    metadata.insert_as("imatrix.chunk_count", Value::Uint(origin.num_chunks), ValueType::U32);
    metadata.insert_as("imatrix.chunk_size", Value::Uint(origin.chunk_size), ValueType::U32);
    let tensor = |name: &str, suffix: &str, num_columns: usize, num_rows: usize| NewTensor {
        name: format!("{name}.{suffix}"),
        shape: vec![num_columns, num_rows],
        ggml_type: GgmlType::F32,
    };
    let tensors = sums.iter().flat_map(|(name, sums)| {
        let num_rows = sums.counts.len();
        [tensor(name, "in_sum2", sums.num_columns, num_rows), tensor(name, "counts", 1, num_rows)]
    });
    let options = WriterOptions { overwrite, ..WriterOptions::default() };
    let mut writer = Writer::create(path, &metadata, tensors.collect(), &options)?;
    for (name, sums) in sums.iter() {
        if let Some(sum) = sums.squares.iter().find(|sum| !(**sum as f32).is_finite()) {
            let field = format!("sum of squares of the inputs of `{name}`");
            return Err(GgufError::invalid(field, sum, "a finite number: the model computes no sense").into());
        }
        let bytes = |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        writer.write_tensor(&format!("{name}.in_sum2"), &bytes(&mut sums.squares.iter().map(|x| *x as f32)))?;
        writer.write_tensor(&format!("{name}.counts"), &bytes(&mut sums.counts.iter().map(|n| *n as f32)))?;
    }
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::InputSums;

    use super::{Origin, has_importance, write_imatrix};
    use crate::Imatrix;

    #[test]
    fn what_is_written_reads_as_mean_squares() {
        let mut sums = InputSums::default();
        let experts = sums.tensor("blk.0.ffn_up_exps.weight", 2, 3);
        for (index, squares, count) in [(0, [10.0, 4.0], 2), (2, [9.0, 0.0], 1)] {
            let (to, counted) = experts.matrix(index);
            to.copy_from_slice(&squares);
            *counted = count;
        }
        sums.tensor("output.weight", 2, 1).counts[0] = 2;
        sums.retain(has_importance);
        assert_eq!((sums.len(), sums.unseen()), (1, (1, 3)));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("imatrix.gguf");
        let origin = Origin { dataset: "a.txt".into(), num_chunks: 2, chunk_size: 512 };
        write_imatrix(&sums, &path, &origin, false).expect("a file");
        let imatrix = Imatrix::read(&path).expect("a sound file");
        assert_eq!(imatrix.get("blk.0.ffn_up_exps.weight"), Some(&[5.0, 2.0, 1.0, 1.0, 9.0, 0.0][..]));
        assert_eq!((imatrix.len(), imatrix.num_chunks, &imatrix.datasets[..]), (1, 2, &["a.txt".to_owned()][..]));
        sums.tensor("blk.0.ffn_up_exps.weight", 2, 3).squares[0] = f64::INFINITY;
        let error = write_imatrix(&sums, &path, &origin, true).expect_err("infinite").to_string();
        assert!(error.contains("blk.0.ffn_up_exps.weight"), "{error}");
    }
}
