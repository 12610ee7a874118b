//! Why a file is not a GGUF we can read.

use std::path::PathBuf;

/// Why a file could not be read. Messages name the field, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A further file of a split is unsound.
    #[error("`{path}`: {source}")]
    Sibling {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<GgufError>,
    },
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it begins with {found:02x?} instead of `GGUF`")]
    Magic {
        /// The bytes found.
        found: Vec<u8>,
    },
    /// A version other than 2 and 3.
    #[error("GGUF version {0} is not supported (2 and 3 are); a big-endian file reads as a huge version")]
    Version(u32),
    /// The file ends inside a field, or a length lies.
    #[error(
        "`{field}` needs {need} bytes at offset {offset}, but only {have} are left: the file is truncated or corrupt"
    )]
    Truncated {
        /// What was being read.
        field: String,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// Bytes that the field claims.
        need: u64,
        /// Bytes that are left.
        have: u64,
    },
    /// A field holds a value that cannot be.
    #[error("`{field}` is {found}; expected {expected}")]
    Invalid {
        /// The field.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: String,
    },
    /// A metadata key that the model needs is not there.
    #[error("metadata key `{0}` is missing")]
    MissingKey(String),
    /// A tensor type that this build does not know.
    #[error("tensor `{tensor}` has type id {id}, which is not a known GGUF tensor type")]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Its type id.
        id: u32,
    },
}

impl GgufError {
    /// An [`GgufError::Invalid`] from anything printable.
    pub fn invalid(field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), found: found.to_string(), expected: expected.into() }
    }
}
