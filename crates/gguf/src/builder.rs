//! Writes GGUF v3 into memory: small files for tests, fuzzing and tools.

use quant::GgmlType;

use crate::{Array, Value};

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

    /// Adds a metadata value. Integers are written as 64-bit, floats as `float64` only when `float32` would lose.
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
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        put_len(&mut out, self.tensors.len());
        put_len(&mut out, self.values.len());
        for (key, value) in &self.values {
            put_str(&mut out, key);
            put_value(&mut out, value);
        }
        let mut offset = 0;
        for (name, shape, ggml_type, data) in &self.tensors {
            put_str(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|&d| put_len(&mut out, d));
            out.extend(ggml_type.id().to_le_bytes());
            put_len(&mut out, offset);
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

fn put_len(out: &mut Vec<u8>, n: usize) {
    out.extend((n as u64).to_le_bytes());
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    put_len(out, s.len());
    out.extend(s.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    out.extend(type_id(value).to_le_bytes());
    match value {
        Value::Uint(n) => out.extend(n.to_le_bytes()),
        Value::Int(n) => out.extend(n.to_le_bytes()),
        Value::Float(x) if fits_f32(*x) => out.extend((*x as f32).to_le_bytes()),
        Value::Float(x) => out.extend(x.to_le_bytes()),
        Value::Bool(b) => out.push(u8::from(*b)),
        Value::String(s) => put_str(out, s),
        Value::Array(a) => put_array(out, a),
    }
}

fn type_id(value: &Value) -> u32 {
    match value {
        Value::Uint(_) => 10,
        Value::Int(_) => 11,
        Value::Float(x) if fits_f32(*x) => 6,
        Value::Float(_) => 12,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
    }
}

fn fits_f32(x: f64) -> bool {
    x.is_nan() || f64::from(x as f32) == x
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let id: u32 = match array {
        Array::Uint(_) => 10,
        Array::Int(_) => 11,
        Array::Float(_) => 12,
        Array::Bool(_) => 7,
        Array::String(_) => 8,
        Array::Array(_) => 9,
    };
    out.extend(id.to_le_bytes());
    put_len(out, array.len());
    match array {
        Array::Uint(v) => v.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::Int(v) => v.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::Float(v) => v.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::Bool(v) => v.iter().for_each(|b| out.push(u8::from(*b))),
        Array::String(v) => v.iter().for_each(|s| put_str(out, s)),
        Array::Array(v) => v.iter().for_each(|a| put_array(out, a)),
    }
}
