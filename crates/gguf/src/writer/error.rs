//! Why a file could not be written.

use std::{io, path::PathBuf};

use crate::GgufError;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file is there already.
    #[error("`{path}` exists; choose another name, or allow overwriting")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another program is writing the same file.
    #[error("`{path}` is being written by another program")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full, or files cannot be so large.
    #[error("no room for `{path}`: it takes {need} bytes")]
    Full {
        /// The file.
        path: PathBuf,
        /// Its size.
        need: u64,
    },
    /// The operating system refused.
    #[error("cannot write `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or tensor that the format cannot hold.
    #[error(transparent)]
    Invalid(#[from] GgufError),
    /// Tensors came in another order than announced.
    #[error("data of `{found}` where {} was announced", expected.as_deref().unwrap_or("no further tensor"))]
    Order {
        /// What came.
        found: String,
        /// What should have come.
        expected: Option<String>,
    },
    /// A tensor's data has another size than announced.
    #[error("`{name}` has {found} bytes of data instead of {expected}")]
    Size {
        /// The tensor.
        name: String,
        /// Bytes that came.
        found: usize,
        /// Bytes of its shape and type.
        expected: usize,
    },
}
