//! Writes GGUF v3 into memory: small files for tests, fuzzing and tools. Nothing is checked, so that a test can write nonsense.

use quant::GgmlType;

use crate::{Value, ValueType, encode};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes a file.
#[derive(Default)]
pub struct Builder {
    values: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<usize>, GgmlType, Vec<u8>)>,
}

impl Builder {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata value, stored as [`ValueType::of`] says.
    #[must_use]
    pub fn value(mut self, key: &str, value: Value) -> Self {
        self.values.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor; `shape` is fastest-varying first and `data` its blocks.
    #[must_use]
    pub fn tensor(mut self, name: &str, shape: &[usize], ggml_type: GgmlType, data: Vec<u8>) -> Self {
        self.tensors.push((name.to_owned(), shape.to_vec(), ggml_type, data));
        self
    }

    /// Adds an F32 tensor.
    #[must_use]
    pub fn tensor_f32(self, name: &str, shape: &[usize], data: &[f32]) -> Self {
        self.tensor(name, shape, GgmlType::F32, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// The bytes of the file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::new();
        encode::put_preamble(&mut out, self.tensors.len(), self.values.len());
        for (key, value) in &self.values {
            encode::put_pair(&mut out, key, value, ValueType::of(value));
        }
        let mut offset = 0;
        for (name, shape, ggml_type, data) in &self.tensors {
            encode::put_tensor(&mut out, name, shape, *ggml_type, offset);
            offset += data.len().next_multiple_of(ALIGNMENT);
        }
        for (_, _, _, data) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(data);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }
}
