//! Block formats of GGUF weights, one file each.
//!
//! [`GgmlType`] names every type a GGUF file can hold and its block geometry.

mod ggml_type;

pub use ggml_type::GgmlType;
