//! The formats that the matrix kernels read.

use std::fmt;

use quant::GgmlType;

use super::registry::{FORMATS, FormatSpec, KernelNames, PlaneBytes};
use crate::kernels::Source;

/// How a matrix lies on the device: a line of the registry.
#[derive(Clone, Copy)]
pub struct PlaneFormat(&'static FormatSpec);

/// What a matrix is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// int8 blocks of 32 (`kernels/include/quant_act.cuh`).
    Int8,
    /// Plain f16 rows.
    Half,
}

impl PlaneFormat {
    /// Every format.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(Self)
    }

    /// The format that holds tensors of a file's type, if there is one. BF16 and F32 become F16.
    #[must_use]
    pub fn of(ggml_type: GgmlType) -> Option<Self> {
        let held = match ggml_type {
            GgmlType::BF16 | GgmlType::F32 => GgmlType::F16,
            other => other,
        };
        FORMATS.iter().find(|spec| spec.ggml_type == held).map(Self)
    }

    /// The number the kernels know it by: its type's in GGUF files.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0.ggml_type.id()
    }

    /// The type it holds.
    #[must_use]
    pub fn ggml_type(self) -> GgmlType {
        self.0.ggml_type
    }

    /// The format's name in kernels and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether it is f16.
    #[must_use]
    pub fn is_half(self) -> bool {
        self.0.ggml_type == GgmlType::F16
    }

    /// What matrices of this format are multiplied with.
    #[must_use]
    pub fn activation(self) -> ActivationKind {
        if self.is_half() { ActivationKind::Half } else { ActivationKind::Int8 }
    }

    /// Columns must be a multiple of this.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.0.block_len
    }

    pub(crate) fn planes(self) -> PlaneBytes {
        self.0.planes
    }

    pub(crate) fn kernel_names(self) -> &'static KernelNames {
        &self.0.kernels
    }

    pub(crate) fn source(self) -> &'static Source {
        &self.0.source
    }
}

impl PartialEq for PlaneFormat {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for PlaneFormat {}

impl fmt::Debug for PlaneFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
