//! Makes importance matrices: sums the squares of what each matrix is multiplied with.

use std::{collections::BTreeMap, path::Path};

use gguf::{
    Array, GgmlType, GgufError, Metadata, NewTensor, TensorInfo, Value, ValueType, WriteError, Writer, WriterOptions,
};

/// Sums of squares by tensor.
#[derive(Debug, Default)]
pub struct Collector {
    sums: BTreeMap<String, Sums>,
}

/// Of one tensor.
#[derive(Debug)]
struct Sums {
    num_columns: usize,
    /// `[matrices, columns]`.
    squares: Vec<f64>,
    /// Rows that came to each matrix.
    counts: Vec<u64>,
}

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

impl Collector {
    /// Adds rows of inputs of matrix `index` of a tensor. Matrices outside of the layers do not count: the embedding and
    /// the output have types of their own.
    pub fn add<'a>(&mut self, tensor: &TensorInfo, index: usize, rows: impl Iterator<Item = &'a [f32]>) {
        if !tensor.name.starts_with("blk.") {
            return;
        }
        let num_columns = tensor.shape[0];
        let num_matrices = tensor.shape.get(2).copied().unwrap_or(1);
        let sums = self.sums.entry(tensor.name.clone()).or_insert_with(|| Sums {
            num_columns,
            squares: vec![0.0; num_columns * num_matrices],
            counts: vec![0; num_matrices],
        });
        let squares = &mut sums.squares[index * num_columns..][..num_columns];
        for row in rows {
            squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
            sums.counts[index] += 1;
        }
    }

    /// Number of tensors seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Experts that no token came to, of all.
    #[must_use]
    pub fn unseen(&self) -> (usize, usize) {
        let counts = || self.sums.values().flat_map(|sums| &sums.counts);
        (counts().filter(|count| **count == 0).count(), counts().count())
    }

    /// Writes an importance matrix in llama.cpp's GGUF format.
    ///
    /// # Errors
    /// [`WriteError`] when a sum is not finite or the file cannot be written.
    pub fn write(&self, path: &Path, origin: &Origin, overwrite: bool) -> Result<(), WriteError> {
        let mut metadata = Metadata::default();
        metadata.insert("general.type", Value::String("imatrix".to_owned()));
        metadata.insert("imatrix.datasets", Value::Array(Array::String(vec![origin.dataset.clone()])));
        metadata.insert_as("imatrix.chunk_count", Value::Uint(origin.num_chunks), ValueType::U32);
        metadata.insert_as("imatrix.chunk_size", Value::Uint(origin.chunk_size), ValueType::U32);
        let tensor = |name: &str, suffix: &str, num_columns: usize, num_rows: usize| NewTensor {
            name: format!("{name}.{suffix}"),
            shape: vec![num_columns, num_rows],
            ggml_type: GgmlType::F32,
        };
        let tensors = self.sums.iter().flat_map(|(name, sums)| {
            let num_rows = sums.counts.len();
            [tensor(name, "in_sum2", sums.num_columns, num_rows), tensor(name, "counts", 1, num_rows)]
        });
        let options = WriterOptions { overwrite, ..WriterOptions::default() };
        let mut writer = Writer::create(path, &metadata, tensors.collect(), &options)?;
        for (name, sums) in &self.sums {
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
}

#[cfg(test)]
mod tests {
    use gguf::{Builder, Gguf};

    use super::{Collector, Origin};
    use crate::Imatrix;

    #[test]
    fn what_is_written_reads_as_mean_squares() {
        let model = Builder::new()
            .tensor_f32("blk.0.ffn_up_exps.weight", &[2, 1, 3], &[0.0; 6])
            .tensor_f32("output.weight", &[2, 1], &[0.0; 2])
            .build();
        let model = Gguf::from_bytes(model).expect("a sound GGUF");
        let mut collector = Collector::default();
        let rows: [&[f32]; 2] = [&[1.0, 2.0], &[3.0, 0.0]];
        collector.add(&model.tensors()[0], 0, rows.into_iter());
        collector.add(&model.tensors()[0], 2, rows[1..].iter().copied());
        collector.add(&model.tensors()[1], 0, rows.into_iter());
        assert_eq!((collector.len(), collector.unseen()), (1, (1, 3)));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("imatrix.gguf");
        let origin = Origin { dataset: "a.txt".into(), num_chunks: 2, chunk_size: 512 };
        collector.write(&path, &origin, false).expect("a file");
        let imatrix = Imatrix::read(&path).expect("a sound file");
        assert_eq!(imatrix.get("blk.0.ffn_up_exps.weight"), Some(&[5.0, 2.0, 1.0, 1.0, 9.0, 0.0][..]));
        assert_eq!((imatrix.len(), imatrix.num_chunks, &imatrix.datasets[..]), (1, 2, &["a.txt".to_owned()][..]));
        collector.add(&model.tensors()[0], 1, [&[f32::INFINITY, 0.0][..]].into_iter());
        let error = collector.write(&path, &origin, true).expect_err("infinite").to_string();
        assert!(error.contains("blk.0.ffn_up_exps.weight"), "{error}");
    }
}
