//! The GGUF container: versions 2 and 3, every metadata type, split files; a reader over mapped files and a streaming
//! writer.
//!
//! Every count, length and offset is checked against the bytes that are there before it is used: a file is hostile
//! until it parsed. Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
//!
//! Invariant: parsing allocates at most a small multiple of the file's own size, and never more than about a GiB
//! however large the file; it never panics.

mod builder;
mod bytes;
mod check;
mod cursor;
mod encode;
mod error;
mod file;
mod header;
mod metadata;
mod split;
mod strings;
mod value;
mod value_type;
mod writer;

pub use builder::Builder;
pub use bytes::OpenOptions;
pub use check::BadWeight;
pub use error::GgufError;
pub use file::{Gguf, TensorInfo};
pub use metadata::Metadata;
pub use quant::GgmlType;
pub use split::names as split_names;
pub use strings::Strings;
pub use value::{Array, Value};
pub use value_type::ValueType;
pub use writer::{AsideFile, NewTensor, Split, WriteError, Writer, WriterOptions};
