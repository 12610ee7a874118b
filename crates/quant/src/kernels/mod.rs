//! The inner loops, once per instruction set: interleaving, and dot products of a tile of rows and tokens.
//!
//! `portable` says what the others compute; the tests hold them to its bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use crate::{
    Isa, Lanes, Superblock,
    isa::Level,
    superblock::{LANES, SUPERBLOCK_LEN},
};

/// Rows of a tile at most.
pub(crate) const TILE_ROWS: usize = 2;
/// Tokens of a tile at most.
pub(crate) const TILE_TOKENS: usize = 4;

/// The dot products of `R` rows with `T` tokens.
pub(crate) type Tile<const R: usize, const T: usize> = [[f32; T]; R];

/// Brings superblocks from the order of the weights into the kernels' order. The kernels know no offset: `offset` times
/// the scale becomes a part of the term.
pub(crate) fn interleave(isa: Isa, offset: u8, blocks: &mut [Superblock]) {
    let offset = f32::from(offset);
    match isa.level() {
        Level::Portable => portable::interleave(offset, blocks),
        // SAFETY: an `Isa` of this level exists only where its features were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::interleave(offset, blocks) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::interleave(offset, blocks) },
    }
}

/// Dot products of float rows; all slices have one length.
pub(crate) fn dot_floats<const R: usize, const T: usize>(
    isa: Isa,
    rows: [&[Lanes]; R],
    tokens: [&[Lanes]; T],
) -> Tile<R, T> {
    match isa.level() {
        Level::Portable => portable::dot_floats(rows, tokens),
        // SAFETY: an `Isa` of this level exists only where its features were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::dot_floats(rows, tokens) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::dot_floats(rows, tokens) },
    }
}

/// Dot products of integer rows, whose bytes are at most `max_q`; all slices have one length.
pub(crate) fn dot_ints<const R: usize, const T: usize>(
    isa: Isa,
    max_q: u8,
    rows: [&[Superblock]; R],
    tokens: [&[Superblock]; T],
) -> Tile<R, T> {
    match isa.level() {
        Level::Portable => portable::dot_ints(rows, tokens),
        // SAFETY: an `Isa` of this level exists only where its features were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 if max_q < 128 => unsafe { avx2::dot_ints::<R, T, false>(rows, tokens) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::dot_ints::<R, T, true>(rows, tokens) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::dot_ints(rows, tokens) },
    }
}

/// Adds up the lanes, in the one order that all instruction sets use: halves onto halves.
#[inline(always)]
fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// The length that all slices have.
#[inline(always)]
fn common_len<B, const R: usize, const T: usize>(rows: [&[B]; R], tokens: [&[B]; T]) -> usize {
    rows.iter().chain(&tokens).map(|s| s.len()).min().unwrap_or(0)
}

/// Where the lane `p` of vector `v` of the interleaved order comes from, in weights.
#[inline(always)]
fn source(v: usize, p: usize) -> usize {
    let group = source_group(p);
    group * (SUPERBLOCK_LEN / LANES) + 4 * v
}

/// Which group lies in lane `p`.
#[inline(always)]
const fn source_group(p: usize) -> usize {
    4 * (p % 4) + p / 4
}
