//! A few rows of a weight matrix, decoded once to serve many tokens.

use std::ops::Range;

use crate::{
    Activations, Format, Isa, Lanes, Superblock, as_floats_mut, format,
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
        self.precision == Precision::Int8 && matches!(self.format.kind, format::Kind::Blocks(_))
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
        match &format.kind {
            format::Kind::Blocks(unpack) if layout.needs_ints() => {
                let superblocks = num_cols.div_ceil(SUPERBLOCK_LEN);
                self.kind = Kind::Ints { max_q: unpack.max_q };
                self.ints.resize(num_rows * superblocks, Superblock::ZERO);
                for (bytes, out) in rows.zip(self.ints.chunks_mut(superblocks)) {
                    (unpack.row)(isa, bytes, out);
                    kernels::interleave(isa, unpack.offset, out);
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
        let first = tokens.start;
        let emit = |row, token, value| emit(row, first + token, value);
        match self.kind {
            Kind::Floats => dot_floats(isa, self.num_cols.div_ceil(LANES), (&self.floats, x.lanes(tokens)), emit),
            Kind::Ints { max_q } => {
                let len = self.num_cols.div_ceil(SUPERBLOCK_LEN);
                for_each_tile(&IntDot { isa, max_q }, len, (&self.ints, x.superblocks(tokens)), emit);
            }
        }
    }
}

/// Hands the dot product of every row with every token to `emit(row, token, value)`; both are rows of `len` lanes.
pub fn dot_floats(isa: Isa, len: usize, (rows, tokens): (&[Lanes], &[Lanes]), emit: impl FnMut(usize, usize, f32)) {
    for_each_tile(&FloatDot { isa }, len, (rows, tokens), emit);
}

/// A kernel for the tiles of a product.
trait TileDot {
    type Block;

    fn dot<const R: usize, const T: usize>(&self, rows: [&[Self::Block]; R], tokens: [&[Self::Block]; T])
    -> Tile<R, T>;
}

struct FloatDot {
    isa: Isa,
}

impl TileDot for FloatDot {
    type Block = Lanes;

    fn dot<const R: usize, const T: usize>(&self, rows: [&[Lanes]; R], tokens: [&[Lanes]; T]) -> Tile<R, T> {
        kernels::dot_floats(self.isa, rows, tokens)
    }
}

struct IntDot {
    isa: Isa,
    max_q: u8,
}

impl TileDot for IntDot {
    type Block = Superblock;

    fn dot<const R: usize, const T: usize>(&self, rows: [&[Superblock]; R], tokens: [&[Superblock]; T]) -> Tile<R, T> {
        kernels::dot_ints(self.isa, self.max_q, rows, tokens)
    }
}

/// Cuts the product of rows and tokens, each of `len` blocks, into tiles.
fn for_each_tile<D: TileDot>(
    dot: &D,
    len: usize,
    (rows, tokens): (&[D::Block], &[D::Block]),
    mut emit: impl FnMut(usize, usize, f32),
) {
    let (num_rows, num_tokens) = (rows.len() / len, tokens.len() / len);
    for token in (0..num_tokens).step_by(TILE_TOKENS) {
        for row in (0..num_rows).step_by(TILE_ROWS) {
            let at = (&rows[row * len..], &tokens[token * len..]);
            let mut emit = |r: usize, t: usize, value: f32| emit(row + r, token + t, value);
            match (num_rows - row, num_tokens - token) {
                (1, 1) => tile::<D, 1, 1>(dot, len, at, &mut emit),
                (1, 2) => tile::<D, 1, 2>(dot, len, at, &mut emit),
                (1, 3) => tile::<D, 1, 3>(dot, len, at, &mut emit),
                (1, _) => tile::<D, 1, 4>(dot, len, at, &mut emit),
                (_, 1) => tile::<D, 2, 1>(dot, len, at, &mut emit),
                (_, 2) => tile::<D, 2, 2>(dot, len, at, &mut emit),
                (_, 3) => tile::<D, 2, 3>(dot, len, at, &mut emit),
                (_, _) => tile::<D, 2, 4>(dot, len, at, &mut emit),
            }
        }
    }
}

#[inline]
fn tile<D: TileDot, const R: usize, const T: usize>(
    dot: &D,
    len: usize,
    (rows, tokens): (&[D::Block], &[D::Block]),
    emit: &mut impl FnMut(usize, usize, f32),
) {
    let rows = std::array::from_fn(|r| &rows[r * len..][..len]);
    let tile: Tile<R, T> = dot.dot(rows, std::array::from_fn(|t| &tokens[t * len..][..len]));
    for (r, values) in tile.iter().enumerate() {
        for (t, &value) in values.iter().enumerate() {
            emit(r, t, value);
        }
    }
}
