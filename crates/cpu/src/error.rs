//! Why an executor cannot be built.

use model::ModelError;
use quant::UnsupportedType;

/// Why a model cannot be computed here.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The file is not a model that we know.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor of a type that we cannot compute with.
    #[error("tensor `{tensor}`: {source}")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// Its type and those that are supported.
        source: UnsupportedType,
    },
    /// An option out of range.
    #[error("{option} is {value}, it must be {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// What it must be.
        expected: String,
    },
    /// The KV cache does not fit into the memory.
    #[error(
        "cannot allocate {bytes} bytes for {num_blocks} KV blocks; lower the context size or the parallel sequences"
    )]
    KvMemory {
        /// Blocks asked for.
        num_blocks: usize,
        /// Their bytes, all layers together.
        bytes: usize,
    },
    /// The system gives no more threads.
    #[error("cannot start thread {idx}: {source}")]
    Thread {
        /// Which one.
        idx: usize,
        /// The system's reason.
        source: std::io::Error,
    },
}
