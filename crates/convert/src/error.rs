//! Why a conversion failed.

use std::path::{Path, PathBuf};

use gguf::{GgufError, WriteError};

/// Why a conversion failed. Messages name the file, what was found in it and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The operating system refused.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds something it must not.
    #[error("`{path}`: {what}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The model is one that cannot be converted.
    #[error("{0}")]
    Unsupported(String),
    /// A tensor is missing, misshapen or has impossible weights.
    #[error("tensor `{name}`: {what}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A GGUF file cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ConvertError {
    pub(crate) fn invalid(path: &Path, what: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn tensor(name: &str, what: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), what: what.into() }
    }

    /// Makes an error of what the system said about a file.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
