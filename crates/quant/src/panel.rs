//! A few rows of a weight matrix, decoded once to serve many tokens.

use std::ops::Range;

use crate::{
    Activations, Format, Isa, Lanes, Superblock, as_floats_mut,
    kernels::{self, TILE_ROWS, TILE_TOKENS, Tile},
    superblock::{LANES, SUPERBLOCK_LEN},
};

/// With which activations block formats are multiplied. Float formats always take them as `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As `f32`: the weights are decoded to floats. The reference.
    Exact,
    /// As 8-bit integers with a scale per sixteen: several times as fast.
    #[default]
    Int8,
}

/// Decoded rows; reused from one load to the next.
#[derive(Debug, Default)]
pub struct Panel {
    num_rows: usize,
    num_cols: usize,
    kind: Kind,
    floats: Vec<Lanes>,
    ints: Vec<Superblock>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    Floats,
    Ints {
        max_q: u8,
    },
}

/// How a matrix is stored and multiplied.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Its type.
    pub format: &'static Format,
    /// Weights in a row.
    pub num_cols: usize,
    /// What its activations are.
    pub precision: Precision,
}

impl Layout {
    /// Whether the activations must have been quantized.
    #[must_use]
    pub fn needs_ints(&self) -> bool {
        self.precision == Precision::Int8 && self.format.unpack.is_some()
    }
}

impl Panel {
    /// An empty panel.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes rows: `bytes` holds whole rows of blocks.
    ///
    /// # Panics
    /// When `bytes` is not a whole number of rows.
    pub fn load(&mut self, isa: Isa, layout: Layout, bytes: &[u8]) {
        let Layout { format, num_cols, .. } = layout;
        let row_bytes = format.row_bytes(num_cols);
        assert!(bytes.len().is_multiple_of(row_bytes), "{} bytes in rows of {row_bytes}", bytes.len());
        let num_rows = bytes.len() / row_bytes;
        let rows = bytes.chunks_exact(row_bytes);
        match &format.unpack {
            Some(unpack) if layout.needs_ints() => {
                let superblocks = num_cols.div_ceil(SUPERBLOCK_LEN);
                self.kind = Kind::Ints { max_q: unpack.max_q };
                self.ints.resize(num_rows * superblocks, Superblock::ZERO);
                for (bytes, out) in rows.zip(self.ints.chunks_mut(superblocks)) {
                    (unpack.row)(isa, bytes, out);
                    kernels::interleave(isa, out);
                }
            }
            _ => {
                let lanes = num_cols.div_ceil(LANES);
                if num_cols != self.num_cols {
                    // Other columns move the padding, which must be zero.
                    self.floats.clear();
                }
                self.kind = Kind::Floats;
                self.floats.resize(num_rows * lanes, Lanes::default());
                for (bytes, out) in rows.zip(self.floats.chunks_mut(lanes)) {
                    format.decode_row(isa, bytes, &mut as_floats_mut(out)[..num_cols]);
                }
            }
        }
        (self.num_rows, self.num_cols) = (num_rows, num_cols);
    }

    /// Number of rows loaded.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Hands the dot product of every row with every token of a range to `emit(row, token, value)`.
    ///
    /// # Panics
    /// When the activations have other columns than the panel, or no such tokens.
    pub fn multiply(&self, isa: Isa, x: &Activations, tokens: Range<usize>, mut emit: impl FnMut(usize, usize, f32)) {
        assert_eq!(self.num_cols, x.num_cols(), "columns of the weights and of the activations");
        for token in tokens.clone().step_by(TILE_TOKENS) {
            for row in (0..self.num_rows).step_by(TILE_ROWS) {
                let at = (row, token);
                match (self.num_rows - row, tokens.end - token) {
                    (1, 1) => self.tile::<1, 1>(isa, x, at, &mut emit),
                    (1, 2) => self.tile::<1, 2>(isa, x, at, &mut emit),
                    (1, 3) => self.tile::<1, 3>(isa, x, at, &mut emit),
                    (1, _) => self.tile::<1, 4>(isa, x, at, &mut emit),
                    (_, 1) => self.tile::<2, 1>(isa, x, at, &mut emit),
                    (_, 2) => self.tile::<2, 2>(isa, x, at, &mut emit),
                    (_, 3) => self.tile::<2, 3>(isa, x, at, &mut emit),
                    (_, _) => self.tile::<2, 4>(isa, x, at, &mut emit),
                }
            }
        }
    }

    #[inline]
    fn tile<const R: usize, const T: usize>(
        &self,
        isa: Isa,
        x: &Activations,
        (row, token): (usize, usize),
        emit: &mut impl FnMut(usize, usize, f32),
    ) {
        let tile: Tile<R, T> = match self.kind {
            Kind::Floats => {
                let len = self.num_cols.div_ceil(LANES);
                let rows = std::array::from_fn(|r| &self.floats[(row + r) * len..][..len]);
                kernels::dot_floats(isa, rows, std::array::from_fn(|t| x.lanes(token + t)))
            }
            Kind::Ints { max_q } => {
                let len = self.num_cols.div_ceil(SUPERBLOCK_LEN);
                let rows = std::array::from_fn(|r| &self.ints[(row + r) * len..][..len]);
                kernels::dot_ints(isa, max_q, rows, std::array::from_fn(|t| x.superblocks(token + t)))
            }
        };
        for (r, values) in tile.iter().enumerate() {
            for (t, &value) in values.iter().enumerate() {
                emit(row + r, token + t, value);
            }
        }
    }
}
