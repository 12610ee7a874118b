//! Sizes and offsets of a matrix's planes.

use quant::GgmlType;

use super::{FORMATS, PlaneFormat};

/// Rows of a tile: the M side of the tensor-core instructions.
pub(super) const TILE_ROWS: usize = 16;
/// Columns of a chunk: four blocks of 32.
pub(crate) const CHUNK_COLS: usize = 128;
/// Planes begin at multiples of this.
const PLANE_ALIGN: usize = 256;

/// Where a matrix's planes lie in its one allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneLayout {
    /// The type in the file.
    pub ggml_type: GgmlType,
    /// The layout's format.
    pub format: PlaneFormat,
    /// Rows (outputs) of the matrix.
    pub rows: usize,
    /// Columns (inputs) of the matrix.
    pub cols: usize,
    /// Tiles of 16 rows.
    pub tiles: usize,
    /// Chunks of 128 columns.
    pub chunks: usize,
    /// Offset of the nibbles, bytes or halves.
    pub low: usize,
    /// Offset of the bits above the nibbles.
    pub high: usize,
    /// Offset of the scales.
    pub scale: usize,
    /// Offset of the super-blocks' scales that are not beside the others.
    pub super_scale: usize,
    /// Bytes of the allocation.
    pub num_bytes: usize,
}

/// Why a tensor has no device layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No kernel reads the type.
    #[error("no GPU kernel multiplies {0} weights; use a file in {names}, BF16 or F32", names = type_names())]
    Type(GgmlType),
    /// The shape is empty, too large, or blocks do not divide its rows.
    #[error(
        "a {ggml_type} matrix of {rows} rows and {cols} columns: columns must be a positive multiple of {block_len}, rows 1..=2^24"
    )]
    Shape {
        /// The type.
        ggml_type: GgmlType,
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// What must divide the columns.
        block_len: usize,
    },
}

impl PlaneLayout {
    /// The layout of a matrix `[rows, cols]`.
    ///
    /// # Errors
    /// [`LayoutError`] when no kernel reads the type or the shape.
    pub fn new(ggml_type: GgmlType, rows: usize, cols: usize) -> Result<Self, LayoutError> {
        let format = PlaneFormat::of(ggml_type).ok_or(LayoutError::Type(ggml_type))?;
        let block_len = format.block_len();
        let limit = 1 << 24;
        if rows == 0 || cols == 0 || rows > limit || cols > limit || !cols.is_multiple_of(block_len) {
            return Err(LayoutError::Shape { ggml_type, rows, cols, block_len });
        }
        let (tiles, chunks) = (rows.div_ceil(TILE_ROWS), cols.div_ceil(CHUNK_COLS));
        let bytes = format.planes();
        let plane = |slot_bytes: usize| (tiles * (chunks / bytes.span) * slot_bytes).next_multiple_of(PLANE_ALIGN);
        let high_at = plane(bytes.low);
        let scale_at = high_at + plane(bytes.high);
        let super_at = scale_at + plane(bytes.scale);
        Ok(Self {
            ggml_type,
            format,
            rows,
            cols,
            tiles,
            chunks,
            low: 0,
            high: high_at,
            scale: scale_at,
            super_scale: super_at,
            num_bytes: super_at + plane(bytes.super_scale),
        })
    }

    /// Columns with the padding to whole chunks.
    #[must_use]
    pub fn padded_cols(&self) -> usize {
        self.chunks * CHUNK_COLS
    }

    /// Bytes of one row in the file.
    #[must_use]
    pub fn source_row_bytes(&self) -> usize {
        self.cols / self.ggml_type.block_len() * self.ggml_type.block_bytes()
    }

    /// Bytes a kernel reads to go through the matrix once.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        let bytes = self.format.planes();
        self.tiles * (self.chunks / bytes.span) * bytes.total()
    }
}

fn type_names() -> String {
    FORMATS.iter().map(|spec| spec.ggml_type.name()).collect::<Vec<_>>().join(", ")
}
