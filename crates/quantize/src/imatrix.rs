//! Importance matrices: how much each column of a matrix matters, as the mean square of its inputs over some text.
//!
//! Two formats of llama.cpp. GGUF (`general.type` is `imatrix`): for each matrix `NAME.in_sum2` `[columns, experts]` and
//! `NAME.counts` `[1, experts]`. The older `.dat`: a count of entries, each a name, a number of calls and sums for it, all
//! little-endian; then the number of chunks and the text's name.

use std::{collections::HashMap, path::Path};

use gguf::{Array, Gguf, Value};
use quant::{Format, Isa};

use crate::QuantizeError;

/// Longest name and longest row that an older file may have.
const MAX_NAME_BYTES: usize = 1024;
const MAX_VALUES: usize = 1 << 26;

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
        let fail = |reason: String| QuantizeError::Imatrix { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let imatrix = if bytes.starts_with(b"GGUF") {
            Self::from_gguf(&Gguf::from_bytes(bytes).map_err(|e| fail(e.to_string()))?)
        } else {
            Self::from_dat(&bytes)
        };
        let imatrix = imatrix.map_err(fail)?;
        for (name, values) in &imatrix.entries {
            if let Some((i, value)) = values.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
                return Err(fail(format!("value {i} of `{name}` is {value}; expected finite and not below 0")));
            }
        }
        Ok(imatrix)
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

    fn from_gguf(gguf: &Gguf) -> Result<Self, String> {
        let metadata = gguf.metadata();
        if metadata.get("general.type") != Some(&Value::String("imatrix".to_owned())) {
            return Err("its `general.type` is not `imatrix`".to_owned());
        }
        let floats = |name: &str| -> Result<Vec<f32>, String> {
            let tensor = gguf.tensor(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
            let mut values = vec![0.0; tensor.num_weights()];
            let format = Format::of(tensor.ggml_type).map_err(|e| format!("tensor `{name}`: {e}"))?;
            format.decode_row(Isa::detect(), gguf.data(tensor), &mut values);
            Ok(values)
        };
        let mut entries = HashMap::new();
        for sums_tensor in gguf.tensors() {
            let Some(name) = sums_tensor.name.strip_suffix(".in_sum2") else { continue };
            let (sums, counts) = (floats(&sums_tensor.name)?, floats(&format!("{name}.counts"))?);
            let columns = sums_tensor.shape[0];
            if columns * counts.len() != sums.len() {
                let found = format!("{} sums in rows of {columns}, {} counts", sums.len(), counts.len());
                return Err(format!("`{name}` has {found}; expected a count for each row"));
            }
            // An expert that no token came to: nothing is known, so all columns count alike.
            let mean = |(sums, count): (&[f32], &f32)| -> Vec<f32> {
                sums.iter().map(|sum| if *count > 0.0 { sum / count } else { 1.0 }).collect()
            };
            entries.insert(name.to_owned(), sums.chunks(columns).zip(&counts).flat_map(mean).collect());
        }
        let datasets = match metadata.get("imatrix.datasets") {
            Some(Value::Array(Array::String(names))) => names.iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let num_chunks = metadata.uint("imatrix.chunk_count").map_err(|e| e.to_string())?.unwrap_or(0);
        Ok(Self { entries, datasets, num_chunks })
    }

    fn from_dat(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = Dat(bytes);
        let num_entries = rest.count("number of entries", usize::MAX)?;
        let mut imatrix = Self::default();
        for i in 0..num_entries {
            let len = rest.count(&format!("name length of entry {i}"), MAX_NAME_BYTES)?;
            let name = String::from_utf8_lossy(rest.take(len, &format!("name of entry {i}"))?).into_owned();
            let num_calls = rest.count(&format!("number of calls of `{name}`"), usize::MAX)?;
            let num_values = rest.count(&format!("number of values of `{name}`"), MAX_VALUES)?;
            let values = rest.take(4 * num_values, &format!("values of `{name}`"))?;
            let scale = 1.0 / num_calls.max(1) as f32;
            let values = values.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b) * scale);
            imatrix.entries.insert(name, values.collect());
        }
        // Files of long ago end here.
        if !rest.0.is_empty() {
            imatrix.num_chunks = rest.count("number of chunks", usize::MAX)? as u64;
            let len = rest.count("length of the text's name", MAX_NAME_BYTES)?;
            imatrix.datasets.push(String::from_utf8_lossy(rest.take(len, "the text's name")?).into_owned());
        }
        Ok(imatrix)
    }
}

/// What is left of an older file.
struct Dat<'a>(&'a [u8]);

impl<'a> Dat<'a> {
    fn take(&mut self, num_bytes: usize, field: &str) -> Result<&'a [u8], String> {
        let found = self.0.split_at_checked(num_bytes);
        let (taken, rest) =
            found.ok_or_else(|| format!("{field} needs {num_bytes} bytes, {} are left", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A 32-bit count that is not negative and at most `max`.
    fn count(&mut self, field: &str, max: usize) -> Result<usize, String> {
        let bytes = self.take(4, field)?;
        let n = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        usize::try_from(n).ok().filter(|n| *n <= max).ok_or_else(|| format!("{field} is {n}; expected 0 to {max}"))
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
            .value("imatrix.datasets", Value::Array(Array::String(["a.txt"].iter().collect())))
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
        let imatrix = read(&dat_file()).expect("a sound file");
        assert_eq!(imatrix.get("ab"), Some(&[2.0, 1.0, 0.5][..]));
        assert_eq!((imatrix.num_chunks, imatrix.datasets), (7, vec!["a.txt".to_owned()]));
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
        assert!(read(&gguf_file(&[1.0])).expect_err("one count").contains("a count for each row"));
        let model = Builder::new().tensor_f32("a", &[1], &[0.0]).build();
        assert!(read(&model).expect_err("no imatrix").contains("general.type"));
    }
}
