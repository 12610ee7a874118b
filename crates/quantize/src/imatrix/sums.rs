//! Makes importance matrices: sums the squares of what each matrix is multiplied with.

use std::{collections::BTreeMap, path::Path};

use gguf::{GgufError, WriteError};
use types::InputSums;

use super::{File, ImatrixFormat, dat, gguf_file};
use crate::QuantizeError;

const OUTPUT: &str = "output.weight";

/// Sums of squares by tensor, over all chunks of some texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    entries: BTreeMap<String, Entry>,
    /// The texts.
    pub datasets: Vec<String>,
    chunk_size: u64,
}

/// Of one tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    /// `[matrices, columns]`.
    pub(super) values: Vec<f64>,
    /// Rows that came to each matrix; one number where all have the same.
    pub(super) counts: Vec<u64>,
}

impl Sums {
    /// Nothing yet, of chunks with so many tokens each.
    #[must_use]
    pub fn new(chunk_size: u64) -> Self {
        Self { entries: BTreeMap::new(), datasets: Vec::new(), chunk_size: chunk_size.max(1) }
    }

    /// Adds what an executor summed. Matrices outside of the layers do not count: the embedding and the output have types
    /// of their own.
    ///
    /// # Errors
    /// [`QuantizeError::ImatrixShape`] when what is there already is of another model.
    pub fn add(&mut self, inputs: &InputSums) -> Result<(), QuantizeError> {
        for (name, sums) in inputs.iter().filter(|(name, _)| name.starts_with("blk.")) {
            self.add_entry(name, Entry { values: sums.squares.clone(), counts: sums.counts.clone() })?;
        }
        Ok(())
    }

    /// Adds rows of inputs of the output matrix, `[rows, columns]`, where that counts too.
    ///
    /// # Errors
    /// As [`Sums::add`].
    pub fn add_output(&mut self, rows: &[f32], num_columns: usize) -> Result<(), QuantizeError> {
        let mut values = vec![0.0; num_columns];
        let rows = rows.chunks_exact(num_columns.max(1));
        let counts = vec![rows.len() as u64];
        rows.for_each(|row| values.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x)));
        self.add_entry(OUTPUT, Entry { values, counts })
    }

    fn add_entry(&mut self, name: &str, added: Entry) -> Result<(), QuantizeError> {
        let (entry, expected) = (self.entries.entry(name.to_owned()).or_default(), added.values.len());
        let found = entry.values.len();
        entry.add(added).map_err(|_| QuantizeError::ImatrixShape { tensor: name.to_owned(), found, expected })
    }

    /// Adds what a file of either format holds. The older format has means over a number of chunks: they are taken to be
    /// as long as the others.
    ///
    /// # Errors
    /// [`QuantizeError::Imatrix`] when it is no importance matrix, or one of a model of another shape.
    pub fn merge(&mut self, path: &Path) -> Result<(), QuantizeError> {
        let file = File::read(path)?;
        let factor = if file.format == ImatrixFormat::Dat { self.chunk_size } else { 1 };
        for (name, read) in file.entries {
            let values = read.values.iter().map(|x| f64::from(*x) * factor as f64).collect();
            let counts = read.counts.iter().map(|n| n.saturating_mul(factor)).collect();
            let entry = self.entries.entry(name.clone()).or_default();
            entry.add(Entry { values, counts }).map_err(|reason| QuantizeError::Imatrix {
                path: path.to_owned(),
                reason: format!("`{name}` {reason}; it belongs to another model"),
            })?;
        }
        self.datasets.extend(file.datasets);
        Ok(())
    }

    /// Number of tensors seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Chunks of text, as counts tell: the matrix that most rows came to saw all.
    #[must_use]
    pub fn num_chunks(&self) -> u64 {
        let counts = self.entries.values().flat_map(|entry| &entry.counts);
        counts.max().unwrap_or(&0) / self.chunk_size()
    }

    /// Experts that no token came to, of all.
    #[must_use]
    pub fn unseen(&self) -> (usize, usize) {
        let counts = || self.entries.values().flat_map(|entry| &entry.counts);
        (counts().filter(|count| **count == 0).count(), counts().count())
    }

    /// Writes an importance matrix.
    ///
    /// # Errors
    /// [`WriteError`] when a sum is not finite or the file cannot be written.
    pub fn write(&self, path: &Path, format: ImatrixFormat, overwrite: bool) -> Result<(), WriteError> {
        for (name, entry) in self.entries() {
            if let Some(sum) = entry.values.iter().find(|sum| !(**sum as f32).is_finite()) {
                let field = format!("sum of squares of the inputs of `{name}`");
                return Err(GgufError::invalid(field, sum, "a finite number: the model computes no sense").into());
            }
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path: path.to_owned() });
        }
        match format {
            ImatrixFormat::Gguf => gguf_file::write(self, path, overwrite),
            ImatrixFormat::Dat => dat::write(self, path, overwrite),
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    pub(super) fn chunk_size(&self) -> u64 {
        self.chunk_size
    }
}

impl Entry {
    /// Gives each matrix a count of its own.
    fn spread(&mut self, num_matrices: usize) {
        let count = self.counts.first().copied().unwrap_or(0);
        if self.counts.len() < num_matrices {
            self.counts = vec![count; num_matrices];
        }
    }

    fn add(&mut self, mut other: Self) -> Result<(), String> {
        if self.values.is_empty() {
            *self = other;
            return Ok(());
        }
        let num_matrices = self.counts.len().max(other.counts.len());
        self.spread(num_matrices);
        other.spread(num_matrices);
        if self.values.len() != other.values.len() || self.counts.len() != other.counts.len() {
            let (found, expected) = (other.values.len(), self.values.len());
            return Err(format!("has {found} columns in {num_matrices} matrices, what came before {expected}"));
        }
        self.values.iter_mut().zip(other.values).for_each(|(sum, x)| *sum += x);
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, n)| *sum = sum.saturating_add(n));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use types::InputSums;

    use super::Sums;
    use crate::{Imatrix, ImatrixFormat};

    const EXPERTS: &str = "blk.0.ffn_up_exps.weight";

    /// Three experts with two columns: sums of squares and counts.
    fn inputs(experts: &[(usize, [f64; 2], u64)]) -> InputSums {
        let mut inputs = InputSums::default();
        let sums = inputs.tensor(EXPERTS, 2, 3);
        for (index, squares, count) in experts {
            let (to, counted) = sums.matrix(*index);
            to.copy_from_slice(squares);
            *counted = *count;
        }
        inputs.tensor("token_embd.weight", 2, 1).counts[0] = 2;
        inputs
    }

    fn add_text(sums: &mut Sums) {
        sums.add(&inputs(&[(0, [10.0, 4.0], 2), (2, [9.0, 0.0], 1)])).expect("the same model");
        sums.add_output(&[1.0, 2.0, 3.0, 0.0], 2).expect("the same model");
        sums.datasets.push("a.txt".to_owned());
    }

    fn sums() -> Sums {
        let mut sums = Sums::new(2);
        add_text(&mut sums);
        sums
    }

    #[test]
    fn what_is_written_reads_as_mean_squares_in_both_formats() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!((sums().len(), sums().unseen(), sums().num_chunks()), (2, (1, 4), 1));
        for format in [ImatrixFormat::Gguf, ImatrixFormat::Dat] {
            let path = folder.path().join(format!("{format:?}"));
            sums().write(&path, format, false).expect("a file");
            let imatrix = Imatrix::read(&path).expect("a sound file");
            assert_eq!(imatrix.get(EXPERTS), Some(&[5.0, 2.0, 1.0, 1.0, 9.0, 0.0][..]), "{format:?}");
            assert_eq!(imatrix.get("output.weight"), Some(&[5.0, 2.0][..]), "{format:?}");
            assert_eq!((imatrix.len(), imatrix.num_chunks, &imatrix.datasets[..]), (2, 1, &["a.txt".to_owned()][..]));
            let again = sums().write(&path, format, false).expect_err("it exists").to_string();
            assert!(again.contains("exists"), "{again}");
        }
        let mut broken = sums();
        broken.add(&inputs(&[(1, [f64::INFINITY, 0.0], 1)])).expect("the same model");
        let path = folder.path().join("infinite");
        let error = broken.write(&path, ImatrixFormat::Gguf, true).expect_err("infinite").to_string();
        assert!(error.contains(EXPERTS) && !path.exists(), "{error}");
    }

    #[test]
    fn files_are_merged_as_if_their_texts_were_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        sums().write(&path("a"), ImatrixFormat::Gguf, false).expect("a file");
        let (mut merged, mut twice) = (sums(), sums());
        merged.merge(&path("a")).expect("the same model");
        add_text(&mut twice);
        assert_eq!(merged, twice);
        assert_eq!(merged.num_chunks(), 2);

        // The older format knows means and chunks alone: 1 chunk of 2 tokens for each expert.
        sums().write(&path("b"), ImatrixFormat::Dat, false).expect("a file");
        let mut merged = Sums::new(2);
        merged.merge(&path("b")).expect("a sound file");
        merged.add(&inputs(&[(1, [4.0, 0.0], 1)])).expect("the same model");
        merged.write(&path("c"), ImatrixFormat::Gguf, false).expect("a file");
        let imatrix = Imatrix::read(&path("c")).expect("a sound file");
        assert_eq!(imatrix.get(EXPERTS), Some(&[5.0, 2.0, 2.0, 2.0 / 3.0, 9.0, 0.0][..]));

        let mut other = InputSums::default();
        other.tensor(EXPERTS, 4, 3).counts[0] = 1;
        let mut merged = Sums::new(2);
        merged.add(&other).expect("the first");
        let error = merged.merge(&path("a")).expect_err("another shape").to_string();
        assert!(error.contains(EXPERTS) && error.contains("another model"), "{error}");
        let error = sums().add(&other).expect_err("another shape").to_string();
        assert!(error.contains(EXPERTS) && error.contains("another model"), "{error}");
    }
}
