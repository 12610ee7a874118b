//! Importance matrices: how much each column of a matrix matters, as the mean square of its inputs over some text.
//!
//! [`Sums`] is what a text adds up to, [`Imatrix`] the means that the encoders take. Two formats of llama.cpp hold
//! them: GGUF (`general.type` is `imatrix`) has sums and counts as they are, the older `.dat` has means times a number of
//! chunks.

mod dat;
mod gguf_file;
mod sums;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use gguf::Gguf;

use crate::QuantizeError;
pub use sums::Sums;

/// How an importance matrix is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImatrixFormat {
    /// Sums and counts, for each expert by itself.
    #[default]
    Gguf,
    /// What llama.cpp wrote before: means, one number of chunks for a whole tensor.
    Dat,
}

/// A file as it is.
struct File {
    format: ImatrixFormat,
    entries: BTreeMap<String, FileEntry>,
    datasets: Vec<String>,
    num_chunks: u64,
}

/// Of one tensor.
struct FileEntry {
    /// `[matrices, columns]`: sums of squares, or means times `counts[0]`.
    values: Vec<f32>,
    /// Rows of each matrix; one number for all, or for `.dat` the number of chunks.
    counts: Vec<u64>,
}

impl File {
    fn read(path: &Path) -> Result<Self, QuantizeError> {
        let fail = |reason: String| QuantizeError::Imatrix { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let file = if bytes.starts_with(b"GGUF") {
            Gguf::from_bytes(bytes).map_err(|e| e.to_string()).and_then(|gguf| gguf_file::parse(&gguf))
        } else {
            dat::parse(&bytes)
        };
        let file = file.map_err(fail)?;
        for (name, entry) in &file.entries {
            if let Some((i, value)) = entry.values.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
                return Err(fail(format!("value {i} of `{name}` is {value}; expected finite and not below 0")));
            }
        }
        Ok(file)
    }
}

impl FileEntry {
    fn means(&self, format: ImatrixFormat) -> Vec<f32> {
        let num_columns = (self.values.len() / self.counts.len().max(1)).max(1);
        let mean = |(values, count): (&[f32], &u64)| -> Vec<f32> {
            match (*count, format) {
                // An expert that no token came to: nothing is known, so all columns count alike.
                (0, ImatrixFormat::Gguf) => vec![1.0; values.len()],
                (count, _) => values.iter().map(|value| value / count.max(1) as f32).collect(),
            }
        };
        self.values.chunks(num_columns).zip(&self.counts).flat_map(mean).collect()
    }
}

/// The importance of the columns of a model's matrices.
#[derive(Clone, Debug, Default)]
pub struct Imatrix {
    /// By tensor: mean squares, `[experts, columns]`.
    entries: HashMap<String, Vec<f32>>,
    /// The texts it was made of.
    pub datasets: Vec<String>,
    /// How many chunks of them.
    pub num_chunks: u64,
}

impl Imatrix {
    /// Reads a file of either format.
    ///
    /// # Errors
    /// [`QuantizeError::Imatrix`] when it is neither, or holds values that are no mean squares.
    pub fn read(path: &Path) -> Result<Self, QuantizeError> {
        let File { format, entries, datasets, num_chunks } = File::read(path)?;
        let entries = entries.into_iter().map(|(name, entry)| (name, entry.means(format))).collect();
        Ok(Self { entries, datasets, num_chunks })
    }

    /// Number of matrices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no matrix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The mean squares of a tensor, `[experts, columns]`.
    #[must_use]
    pub fn get(&self, tensor: &str) -> Option<&[f32]> {
        self.entries.get(tensor).map(Vec::as_slice)
    }

    /// Sets the mean squares of a tensor.
    pub fn insert(&mut self, tensor: impl Into<String>, mean_squares: Vec<f32>) {
        self.entries.insert(tensor.into(), mean_squares);
    }

    /// Forgets the tensors whose names `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|name, _| keep(name));
    }
}

#[cfg(test)]
mod tests {
    use gguf::{Array, Builder, Value};

    use super::Imatrix;

    fn read(bytes: &[u8]) -> Result<Imatrix, String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), bytes).expect("a writable file");
        Imatrix::read(file.path()).map_err(|e| e.to_string())
    }

    fn gguf_file(counts: &[f32]) -> Vec<u8> {
        Builder::new()
            .value("general.type", Value::String("imatrix".into()))
            .value("imatrix.datasets", Value::Array(Array::String(["a.txt"].into_iter().collect())))
            .value("imatrix.chunk_count", Value::Uint(7))
            .tensor_f32("blk.0.ffn_down_exps.weight.in_sum2", &[2, 2], &[8.0, 4.0, 6.0, 3.0])
            .tensor_f32("blk.0.ffn_down_exps.weight.counts", &[1, counts.len()], counts)
            .build()
    }

    fn dat_file() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1_i32.to_le_bytes());
        bytes.extend(2_i32.to_le_bytes());
        bytes.extend(b"ab");
        bytes.extend(4_i32.to_le_bytes());
        bytes.extend(3_i32.to_le_bytes());
        [8.0_f32, 4.0, 2.0].iter().for_each(|x| bytes.extend(x.to_le_bytes()));
        bytes.extend(7_i32.to_le_bytes());
        bytes.extend(5_i32.to_le_bytes());
        bytes.extend(b"a.txt");
        bytes
    }

    #[test]
    fn both_formats_give_mean_squares() {
        let imatrix = read(&gguf_file(&[4.0, 0.0])).expect("a sound file");
        assert_eq!(imatrix.get("blk.0.ffn_down_exps.weight"), Some(&[2.0, 1.0, 1.0, 1.0][..]));
        assert_eq!((imatrix.num_chunks, imatrix.datasets), (7, vec!["a.txt".to_owned()]));
        // One count for both experts: files of some converters have such.
        let imatrix = read(&gguf_file(&[2.0])).expect("a sound file");
        assert_eq!(imatrix.get("blk.0.ffn_down_exps.weight"), Some(&[4.0, 2.0, 3.0, 1.5][..]));
        let mut imatrix = read(&dat_file()).expect("a sound file");
        assert_eq!(imatrix.get("ab"), Some(&[2.0, 1.0, 0.5][..]));
        assert_eq!((imatrix.num_chunks, &imatrix.datasets), (7, &vec!["a.txt".to_owned()]));
        imatrix.retain(|name| name != "ab");
        assert!(imatrix.is_empty());
    }

    #[test]
    fn broken_files_are_refused_without_a_panic() {
        let whole = dat_file();
        for len in (0..whole.len()).filter(|len| *len != whole.len() - 13) {
            assert!(read(&whole[..len]).is_err(), "{len} bytes");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            let _ = read(&bytes);
        }
        let mut bytes = whole;
        bytes[18..22].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(read(&bytes).expect_err("not a number").contains("value 0 of `ab` is NaN"));
        assert!(read(&gguf_file(&[1.0, 2.0, 3.0])).expect_err("three counts").contains("a count for each row"));
        assert!(read(&gguf_file(&[1.0, f32::NAN])).expect_err("no count").contains("count 1 of"));
        assert!(read(&gguf_file(&[-1.0, 1.0])).expect_err("no count").contains("count 0 of"));
        let model = Builder::new().tensor_f32("a", &[1], &[0.0]).build();
        assert!(read(&model).expect_err("no imatrix").contains("general.type"));
    }
}
