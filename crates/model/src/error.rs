//! Why a model cannot be served.

use gguf::GgufError;

/// Why a GGUF is not a model that we can serve.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The metadata is unsound.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// An architecture without a file in `arch/`.
    #[error("architecture `{found}` is not supported; the nearest is `{nearest}`; supported are {supported}")]
    UnknownArchitecture {
        /// What `general.architecture` says.
        found: String,
        /// The name that we know with the fewest letters changed.
        nearest: &'static str,
        /// The names we know.
        supported: String,
    },
    /// A feature of the architecture that is not there yet.
    #[error("`{key}` is {found}, which is not supported yet (supported: {supported})")]
    Unsupported {
        /// The metadata key.
        key: String,
        /// Its value.
        found: String,
        /// What we can do.
        supported: String,
    },
    /// A tensor that the architecture needs.
    #[error("tensor `{0}` is missing")]
    MissingTensor(String),
    /// A tensor of another shape than the metadata asks for.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?} (columns first)")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the metadata asks for.
        expected: Vec<usize>,
    },
    /// Rows of a tensor that holds several matrices cannot be told apart.
    #[error("tensor `{name}`: rows {rows:?} are no whole blocks")]
    Rows {
        /// The tensor.
        name: String,
        /// Rows wanted.
        rows: std::ops::Range<usize>,
    },
    /// Tensors that nothing reads: the file is of another architecture than it says.
    #[error("{count} tensors do not belong to a `{arch}` model, the first is `{first}`")]
    ExtraTensors {
        /// The architecture.
        arch: &'static str,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: String,
    },
}
