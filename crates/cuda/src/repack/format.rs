//! The formats that the matrix kernels read.

use quant::GgmlType;

/// How a matrix lies on the device. The numbers are `QuantFormat`'s in `kernels/include/quant_formats.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum PlaneFormat {
    /// [`GgmlType::Q4_K`].
    Q4K = 0,
    /// [`GgmlType::Q5_K`].
    Q5K = 1,
    /// [`GgmlType::Q6_K`].
    Q6K = 2,
    /// [`GgmlType::Q8_0`].
    Q8 = 3,
    /// [`GgmlType::Q4_0`].
    Q4 = 4,
    /// [`GgmlType::Q5_0`].
    Q5 = 5,
    /// f16, made from [`GgmlType::F16`], [`GgmlType::BF16`] or [`GgmlType::F32`].
    Half = 6,
}

/// What a matrix is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// int8 blocks of 32 (`kernels/include/quant_act.cuh`).
    Int8,
    /// Plain f16 rows.
    Half,
}

/// Bytes of each plane in one chunk (16 rows, 128 columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkBytes {
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) scale: usize,
    pub(crate) super_scale: usize,
}

impl PlaneFormat {
    /// Every format.
    pub const ALL: [Self; 7] = [Self::Q4K, Self::Q5K, Self::Q6K, Self::Q8, Self::Q4, Self::Q5, Self::Half];

    /// The format that holds tensors of a file's type, if there is one.
    #[must_use]
    pub fn of(ggml_type: GgmlType) -> Option<Self> {
        Some(match ggml_type {
            GgmlType::Q4_K => Self::Q4K,
            GgmlType::Q5_K => Self::Q5K,
            GgmlType::Q6_K => Self::Q6K,
            GgmlType::Q8_0 => Self::Q8,
            GgmlType::Q4_0 => Self::Q4,
            GgmlType::Q5_0 => Self::Q5,
            GgmlType::F16 | GgmlType::BF16 | GgmlType::F32 => Self::Half,
            _ => return None,
        })
    }

    /// The number the kernels know it by.
    #[must_use]
    pub fn id(self) -> u32 {
        self as u32
    }

    /// The format's name in kernels and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
            Self::Q8 => "q8_0",
            Self::Q4 => "q4_0",
            Self::Q5 => "q5_0",
            Self::Half => "f16",
        }
    }

    /// What matrices of this format are multiplied with.
    #[must_use]
    pub fn activation(self) -> ActivationKind {
        if self == Self::Half { ActivationKind::Half } else { ActivationKind::Int8 }
    }

    /// Columns must be a multiple of this.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            Self::Q8 | Self::Q4 | Self::Q5 => 32,
            Self::Half => 4,
        }
    }

    pub(crate) fn chunk_bytes(self) -> ChunkBytes {
        let (low, high, scale, super_scale) = match self {
            Self::Q4K => (1024, 0, 128, 0),
            Self::Q5K => (1024, 256, 128, 0),
            Self::Q6K => (1024, 512, 128, 16),
            Self::Q8 => (2048, 0, 128, 0),
            Self::Q4 => (1024, 0, 128, 0),
            Self::Q5 => (1024, 256, 128, 0),
            Self::Half => (4096, 0, 0, 0),
        };
        ChunkBytes { low, high, scale, super_scale }
    }
}
