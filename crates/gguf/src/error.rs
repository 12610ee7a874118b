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
    #[error("tensor `{tensor}` has type id {id}, which is {}", removed_type(*id))]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// Its type id.
        id: u32,
    },
}

/// What a type id that is not known once was, and which type is nearest.
fn removed_type(id: u32) -> String {
    let removed = match id {
        4 => ("Q4_2", "Q4_0"),
        5 => ("Q4_3", "Q4_1"),
        31 => ("Q4_0_4_4", "Q4_0"),
        32 => ("Q4_0_4_8", "Q4_0"),
        33 => ("Q4_0_8_8", "Q4_0"),
        36 => ("IQ4_NL_4_4", "IQ4_NL"),
        37 => ("IQ4_NL_4_8", "IQ4_NL"),
        38 => ("IQ4_NL_8_8", "IQ4_NL"),
        _ => {
            let known: Vec<_> = quant::GgmlType::ALL.iter().map(|known| known.name()).collect();
            return format!("not a known GGUF tensor type; known are {}", known.join(", "));
        }
    };
    format!("{}, which ggml no longer has: make the file again, the nearest type is {}", removed.0, removed.1)
}

impl GgufError {
    /// An [`GgufError::Invalid`] from anything printable.
    pub fn invalid(field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), found: found.to_string(), expected: expected.into() }
    }
}
