//! Why a file was not quantized.

use std::path::PathBuf;

use gguf::{GgmlType, GgufError, WriteError};

/// Why a file was not quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A name that is no file type.
    #[error("`{found}` is no file type; there are {}", crate::FileType::names())]
    FileType {
        /// What was given.
        found: String,
    },
    /// A name that is no tensor type, or one that cannot be made.
    #[error("`{found}` is no tensor type that can be made; there are {}", crate::plan::tensor_type_names())]
    TensorType {
        /// What was given.
        found: String,
    },
    /// Not `PATTERN=TYPE`.
    #[error("`{found}` is not PATTERN=TYPE with a regular expression: {reason}")]
    Override {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The input is quantized already.
    #[error(
        "tensor `{tensor}` is {from} already: quantizing it to {to} would lose twice; start from F32, F16 or BF16, or pass \
         --allow-requantize"
    )]
    Requantize {
        /// The tensor.
        tensor: String,
        /// What it is.
        from: GgmlType,
        /// What it would become.
        to: GgmlType,
    },
    /// A type that we cannot decode.
    #[error("tensor `{tensor}`: {source}")]
    Source {
        /// The tensor.
        tensor: String,
        /// Why.
        source: quant::UnsupportedType,
    },
    /// A weight that is no finite number.
    #[error("tensor `{tensor}`: weight {column} of row {row} is {value}; the file is broken")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Which row, counting those of all experts.
        row: usize,
        /// Which weight of it.
        column: usize,
        /// What it is.
        value: f32,
    },
    /// Weights too large for a type.
    #[error(
        "tensor `{tensor}`: row {row} has values up to {largest:e}, more than {to} can hold; use --tensor-type for it"
    )]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// Which row, counting those of all experts.
        row: usize,
        /// The largest magnitude.
        largest: f32,
        /// The type.
        to: GgmlType,
    },
    /// An importance matrix of another shape than its tensor.
    #[error(
        "importance matrix: `{tensor}` has {found} columns, the model's tensor {expected}; it belongs to another model"
    )]
    ImatrixShape {
        /// The tensor.
        tensor: String,
        /// Columns of the matrix, times experts.
        found: usize,
        /// Those of the tensor.
        expected: usize,
    },
    /// An importance matrix without any of the model's tensors.
    #[error("importance matrix: none of its {entries} entries names a tensor of the model; it belongs to another one")]
    ImatrixUnrelated {
        /// Entries that it has.
        entries: usize,
    },
    /// A file that is no importance matrix.
    #[error("`{path}` is no importance matrix: {reason}")]
    Imatrix {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A layer that cannot be left out.
    #[error(
        "layer {layer} cannot be left out: the model has {num_layers} layers, numbered from 0, and one at least must stay"
    )]
    Prune {
        /// The layer.
        layer: usize,
        /// Layers of the model.
        num_layers: usize,
    },
    /// A file of the input.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The output.
    #[error(transparent)]
    Write(#[from] WriteError),
}
