//! A mixture of experts: which experts each token passes, products of tokens with their experts' matrices, and the
//! weighted sum of what the experts give.
//!
//! A token and an expert that it passes are a pair; pair `token * num_used + rank` is the token's expert of that rank. How
//! many pairs an expert has is known to the device alone, so launches have room for any choice.

mod matmul;
mod route;
mod sum;

use crate::{device::Span, error::CudaError};

pub use matmul::{ExpertMatmul, ExpertMatmulCall};
pub use route::{Route, RouteCall};
pub use sum::{ExpertSum, ExpertSumCall, SharedOut};

const OP: &str = "moe";
/// Rows of a tile.
const TILE_ROWS: usize = 16;
/// Experts to choose from at most, as the kernels have room for.
pub const MAX_EXPERTS: usize = 1024;
/// Experts of a token at most: a lane each.
pub const MAX_USED: usize = 32;
/// Pairs of a step at most: the largest grid along y.
pub const MAX_PAIRS: usize = 65_535;

/// How many pairs of an expert share a tile, and so what multiplies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// One: a single token's, whose experts differ. As few, but a matrix-vector product each.
    Single,
    /// Few: quantized weights are multiplied by int8, four columns at a time.
    Few,
    /// Many: weights become f16, on tensor cores.
    Many,
}

impl Grouping {
    /// For tokens that pass `num_used` experts each. Tensor cores are worth it where an expert has so many pairs as a tile for few.
    #[must_use]
    pub fn of(tokens: usize, num_used: usize, num_experts: usize) -> Self {
        match tokens {
            1 => Self::Single,
            _ if tokens * num_used >= Self::Few.tile_pairs() * num_experts => Self::Many,
            _ => Self::Few,
        }
    }

    /// Pairs of a tile.
    #[must_use]
    pub fn tile_pairs(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Few => 8,
            Self::Many => 32,
        }
    }

    /// Tiles at most, whatever experts the pairs choose.
    #[must_use]
    pub fn max_tiles(self, pairs: usize, num_experts: usize) -> usize {
        pairs.min(pairs / self.tile_pairs() + num_experts)
    }
}

/// Which experts the tokens of a step pass, on the device: views with room for a step's pairs.
#[derive(Clone, Copy, Debug)]
pub struct Routes {
    /// The expert of each pair, `[pairs]`; `u32::MAX` of padding.
    pub experts: Span<u32>,
    /// The weight of each pair, `[pairs]`.
    pub weights: Span<f32>,
    /// The pairs by expert, `[pairs]`.
    pub order: Span<u32>,
    /// Runs of pairs of one expert, `[max_tiles, 4]`.
    pub tiles: Span<u32>,
    /// How the pairs are listed.
    pub grouping: Grouping,
}

/// Tiles of pairs at most, however they are grouped.
#[must_use]
pub fn max_tiles(pairs: usize, num_experts: usize) -> usize {
    Grouping::Few.max_tiles(pairs, num_experts)
}

/// Rows that an expert of so many has in its matrix: whole tiles.
#[must_use]
pub fn padded_rows(rows: usize) -> usize {
    rows.next_multiple_of(TILE_ROWS)
}

impl Routes {
    pub(super) fn check(&self, pairs: usize, num_experts: usize) -> Result<(), CudaError> {
        let tiles = 4 * self.grouping.max_tiles(pairs, num_experts);
        let lens = [self.experts.len(), self.weights.len(), self.order.len()];
        if pairs > MAX_PAIRS || lens.iter().any(|&len| len < pairs) || self.tiles.len() < tiles {
            return refuse(format!("{pairs} pairs of {num_experts} experts in {self:?}; the limit is {MAX_PAIRS}"));
        }
        if !self.tiles.ptr().0.is_multiple_of(16) {
            return refuse(format!("tiles at {:#x}, not aligned to 16 bytes", self.tiles.ptr().0));
        }
        Ok(())
    }
}

fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}

#[cfg(test)]
mod tests {
    use super::Grouping;

    #[test]
    fn tiles_suffice_for_every_choice() {
        for num_experts in [1_usize, 4, 8, 128] {
            for pairs in [1_usize, 7, 8, 9, 64, 500, 4096] {
                // As many experts as can have a pair too many for their whole tiles.
                let ragged = num_experts.min(pairs);
                for grouping in [Grouping::Single, Grouping::Few, Grouping::Many] {
                    let tiles = ragged + (pairs - ragged) / grouping.tile_pairs();
                    assert!(tiles <= grouping.max_tiles(pairs, num_experts), "{pairs} pairs, {num_experts} experts");
                }
            }
        }
    }
}
