//! Which kernel serves which sequence of a step: sequences with one query token are decoded, the others' tokens are
//! cut into tiles. Plain host work, once per step, for all layers.

use model::DecoderSpec;

use crate::device::Plain;

/// Rows (query tokens times heads) of a tile.
const TILE_ROWS: usize = 64;
/// Heads of one KV head that share a tile at most.
const MAX_TILE_HEADS: usize = 16;

/// Neighbouring query tokens of one sequence; `PrefillTile` of the kernels. Four words, so that a step's tiles can
/// travel with its other metadata.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefillTile {
    /// The sequence, in the step.
    pub seq: u32,
    /// The first token, counted among the sequence's tokens of this step.
    pub first: u32,
    /// Tokens; 0 is padding.
    pub count: u32,
    /// Makes four words.
    pub unused: u32,
}

// SAFETY: four words without padding; every pattern is a value.
unsafe impl Plain for PrefillTile {}

/// The division of a step's sequences. Keeps its memory between steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttentionPlan {
    /// Sequences with one query token, in order.
    pub decode_seqs: Vec<u32>,
    /// The other sequences' tokens, the tiles with the most keys first: they take longest.
    pub tiles: Vec<PrefillTile>,
}

/// Tokens of a tile where `group` query heads share a KV head.
#[must_use]
pub fn tile_tokens(group: usize) -> usize {
    TILE_ROWS / group.clamp(1, MAX_TILE_HEADS)
}

impl AttentionPlan {
    /// Tokens of a tile that suits all layers of a model.
    #[must_use]
    pub fn tile_tokens(spec: &DecoderSpec) -> usize {
        let groups = spec.layers.iter().map(|l| l.attention.num_heads / l.attention.num_kv_heads.max(1));
        groups.map(tile_tokens).min().unwrap_or(TILE_ROWS)
    }

    /// Tiles of a step of so many tokens and sequences at most: what metadata needs room for.
    #[must_use]
    pub fn max_tiles(tile_tokens: usize, max_tokens: usize, max_seqs: usize) -> usize {
        max_tokens / tile_tokens + max_seqs.min(max_tokens)
    }

    /// Divides a step. Sequence `s` has the tokens `cu_seqlens[s]..cu_seqlens[s + 1]` and the length `seq_lens[s]`
    /// after the step; those without tokens or with length 0 are padding.
    ///
    /// # Panics
    /// When `cu_seqlens` is not one longer than `seq_lens`.
    pub fn fill(&mut self, cu_seqlens: &[u32], seq_lens: &[u32], tile_tokens: usize) {
        assert_eq!(cu_seqlens.len(), seq_lens.len() + 1, "starts of the sequences and their end");
        self.decode_seqs.clear();
        self.tiles.clear();
        for (seq, (bounds, &len)) in cu_seqlens.windows(2).zip(seq_lens).enumerate() {
            let num_tokens = bounds[1] - bounds[0];
            match num_tokens {
                _ if len == 0 => {}
                0 => {}
                1 => self.decode_seqs.push(seq as u32),
                _ => self.tiles.extend((0..num_tokens).step_by(tile_tokens).map(|first| PrefillTile {
                    seq: seq as u32,
                    first,
                    count: (num_tokens - first).min(tile_tokens as u32),
                    unused: 0,
                })),
            }
        }
        let num_keys = |tile: &PrefillTile| {
            let seq = tile.seq as usize;
            seq_lens[seq] - (cu_seqlens[seq + 1] - cu_seqlens[seq]) + tile.first + tile.count
        };
        self.tiles.sort_by_key(|tile| std::cmp::Reverse(num_keys(tile)));
    }
}

#[cfg(test)]
mod tests {
    use super::{AttentionPlan, PrefillTile, tile_tokens};

    #[test]
    fn a_tile_is_four_words() {
        assert_eq!(size_of::<PrefillTile>(), 16);
    }

    #[test]
    fn tiles_hold_64_rows_at_most() {
        assert_eq!([1, 2, 3, 4, 5, 7, 8, 16, 71].map(tile_tokens), [64, 32, 21, 16, 12, 9, 8, 4, 4]);
    }

    #[test]
    fn every_token_is_served_once() {
        // A decode, a chunk behind 100 tokens, padding, a verify step, a decode of a one-token sequence, a prompt.
        let counts = [1_u32, 70, 0, 5, 1, 33];
        let seq_lens = [900, 170, 0, 305, 1, 33];
        let mut cu_seqlens = vec![0];
        counts.iter().for_each(|n| cu_seqlens.push(cu_seqlens.last().unwrap() + n));
        let mut plan = AttentionPlan::default();
        // Filling twice: nothing of the first step stays.
        for _ in 0..2 {
            plan.fill(&cu_seqlens, &seq_lens, 16);
        }
        assert_eq!(plan.decode_seqs, [0, 4]);
        let mut served = vec![0; 110];
        for tile in &plan.tiles {
            assert!(tile.count <= 16 && tile.first + tile.count <= counts[tile.seq as usize], "{tile:?}");
            let start = cu_seqlens[tile.seq as usize] + tile.first;
            (start..start + tile.count).for_each(|token| served[token as usize] += 1);
        }
        let decoded = |token: usize| plan.decode_seqs.iter().any(|&s| cu_seqlens[s as usize] as usize == token);
        assert!(served.iter().enumerate().all(|(token, &n)| n + i32::from(decoded(token)) == 1), "{served:?}");
        let keys: Vec<u32> =
            plan.tiles.iter().map(|t| seq_lens[t.seq as usize] - counts[t.seq as usize] + t.first + t.count).collect();
        assert!(keys.is_sorted_by(|a, b| a >= b), "longest first: {keys:?}");
        assert!(plan.tiles.len() <= AttentionPlan::max_tiles(16, 110, 6));
    }

    #[test]
    fn steps_of_padding_have_no_work() {
        let mut plan = AttentionPlan::default();
        plan.fill(&[0, 1, 2, 3], &[0, 0, 0], 16);
        assert_eq!(plan, AttentionPlan::default());
    }
}
