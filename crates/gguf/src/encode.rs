//! The bytes of lengths, strings, values and tensor entries: what the builder and the writer have in common.

use quant::GgmlType;

use crate::{Array, Value, ValueType};

/// Magic, version 3, and how many tensors and values follow.
pub(crate) fn put_preamble(out: &mut Vec<u8>, num_tensors: usize, num_values: usize) {
    out.extend(b"GGUF");
    out.extend(3_u32.to_le_bytes());
    put_len(out, num_tensors);
    put_len(out, num_values);
}

pub(crate) fn put_str(out: &mut Vec<u8>, s: &str) {
    put_len(out, s.len());
    out.extend(s.as_bytes());
}

/// A key and its value, stored as `value_type`.
pub(crate) fn put_pair(out: &mut Vec<u8>, key: &str, value: &Value, value_type: ValueType) {
    put_str(out, key);
    if let Value::Array(array) = value {
        out.extend(ValueType::Array.id().to_le_bytes());
        put_array(out, array, value_type);
        return;
    }
    out.extend(value_type.id().to_le_bytes());
    match value {
        Value::Uint(n) => put_int(out, *n, value_type),
        Value::Int(n) => put_int(out, n.cast_unsigned(), value_type),
        Value::Float(x) => put_float(out, *x, value_type),
        Value::Bool(b) => out.push(u8::from(*b)),
        Value::String(s) => put_str(out, s),
        Value::Array(_) => {}
    }
}

/// An entry of the list of tensors; `offset` counts from the start of the data.
pub(crate) fn put_tensor(out: &mut Vec<u8>, name: &str, shape: &[usize], ggml_type: GgmlType, offset: usize) {
    put_str(out, name);
    out.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|&d| put_len(out, d));
    out.extend(ggml_type.id().to_le_bytes());
    put_len(out, offset);
}

fn put_len(out: &mut Vec<u8>, n: usize) {
    out.extend((n as u64).to_le_bytes());
}

fn put_array(out: &mut Vec<u8>, array: &Array, elements: ValueType) {
    out.extend(elements.id().to_le_bytes());
    put_len(out, array.len());
    match array {
        Array::Uint(v) => v.iter().for_each(|n| put_int(out, *n, elements)),
        Array::Int(v) => v.iter().for_each(|n| put_int(out, n.cast_unsigned(), elements)),
        Array::Float(v) => v.iter().for_each(|x| put_float(out, *x, elements)),
        Array::Bool(v) => v.iter().for_each(|b| out.push(u8::from(*b))),
        Array::String(v) => v.iter().for_each(|s| put_str(out, s)),
        Array::Array(v) => v.iter().for_each(|a| put_array(out, a, ValueType::of_elements(a))),
    }
}

/// The low bytes of a two's complement number are the number in fewer bytes.
fn put_int(out: &mut Vec<u8>, n: u64, value_type: ValueType) {
    out.extend(&n.to_le_bytes()[..value_type.min_bytes() as usize]);
}

fn put_float(out: &mut Vec<u8>, x: f64, value_type: ValueType) {
    if value_type == ValueType::F32 {
        out.extend((x as f32).to_le_bytes());
    } else {
        out.extend(x.to_le_bytes());
    }
}
