//! Pools of KV blocks: one for the layers that see all tokens, one for those that see a window.

use crate::{BLOCK_SIZE, BlockId};

/// Pools at most: see [`KvPools`].
pub const MAX_KV_POOLS: usize = 2;
/// Blocks of a pool for windows beyond what sequences can hold: for the prefix cache.
const SPARE_WINDOW_BLOCKS: usize = 128;

/// A pool of KV blocks, for the layers that see the same tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPool {
    /// Blocks ([`BLOCK_SIZE`] tokens each).
    pub num_blocks: usize,
    /// Tokens that the layers see, the own one included; `None` for all. What fell out of every later token's sight
    /// needs no block.
    pub window: Option<usize>,
}

/// The pools of an executor: a model has layers that see all tokens, layers with a window, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvPools {
    first: KvPool,
    second: Option<KvPool>,
}

impl KvPool {
    /// A pool for layers that see all tokens.
    #[must_use]
    pub const fn full(num_blocks: usize) -> Self {
        Self { num_blocks, window: None }
    }

    /// The first position that the token at `position` sees.
    #[must_use]
    pub fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Blocks before this one hold nothing that the token at `position`, or a later one, sees.
    #[must_use]
    pub fn first_block(&self, position: usize) -> usize {
        self.first_visible(position) / BLOCK_SIZE
    }

    /// Blocks that a sequence of `num_tokens` tokens holds at most, where a step computes `chunk` of them at most.
    #[must_use]
    pub fn peak_blocks(&self, num_tokens: usize, chunk: usize) -> usize {
        let all = num_tokens.div_ceil(BLOCK_SIZE);
        self.window.map_or(all, |window| all.min(blocks_in_sight(window.saturating_add(chunk.saturating_sub(1)))))
    }

    /// The longest sequence that the pool holds, in tokens, when it is alone.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        match self.window {
            Some(window) if blocks_in_sight(window) <= self.num_blocks => usize::MAX,
            _ => self.num_blocks.saturating_mul(BLOCK_SIZE),
        }
    }
}

/// Blocks that so many tokens in a row lie in at most.
fn blocks_in_sight(num_tokens: usize) -> usize {
    num_tokens.saturating_add(BLOCK_SIZE - 2) / BLOCK_SIZE + 1
}

impl KvPools {
    /// One pool, or two.
    #[must_use]
    pub const fn new(first: KvPool, second: Option<KvPool>) -> Self {
        Self { first, second }
    }

    /// One pool, for layers that see all tokens.
    #[must_use]
    pub const fn full(num_blocks: usize) -> Self {
        Self::new(KvPool::full(num_blocks), None)
    }

    /// The pools for layers with these windows (`None` first, for those that see all tokens), where the pool for all
    /// tokens has `num_blocks` blocks. One for windows has no more than are of use: what `num_seqs` sequences can hold
    /// at most while steps compute `chunk` tokens, and some for the prefix cache.
    ///
    /// # Panics
    /// When there is no window or there are more than [`MAX_KV_POOLS`].
    #[must_use]
    pub fn sized(windows: &[Option<usize>], num_blocks: usize, (num_seqs, chunk): (usize, usize)) -> Self {
        let pool = |window: &Option<usize>| {
            let useful = |window: usize| {
                let held = num_seqs.saturating_mul(blocks_in_sight(window));
                held.saturating_add(chunk.div_ceil(BLOCK_SIZE) + SPARE_WINDOW_BLOCKS)
            };
            KvPool { num_blocks: window.map_or(num_blocks, |window| num_blocks.min(useful(window))), window: *window }
        };
        match windows {
            [first] => Self::new(pool(first), None),
            [first, second] => Self::new(pool(first), Some(pool(second))),
            _ => panic!("{} kinds of windows, there may be 1 to {MAX_KV_POOLS}", windows.len()),
        }
    }

    /// The largest number of blocks of the first pool, `0..=limit`, for which `num_bytes` of them fit `room`. Bytes grow
    /// with blocks.
    #[must_use]
    pub fn largest_fitting(limit: usize, room: usize, num_bytes: impl Fn(usize) -> usize) -> usize {
        let (mut fits, mut too_many) = (0, limit.saturating_add(1));
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if num_bytes(middle) <= room { fits = middle } else { too_many = middle }
        }
        fits
    }

    /// Block tables for sequence `seq_idx` of `num_seqs` equal ones of `num_tokens` tokens, computed by steps of `chunk`
    /// tokens: for tools that drive an executor without a scheduler. Each has its share of every pool; a window goes
    /// around in it. `None` where a share is too small.
    #[must_use]
    pub fn equal_tables(
        &self,
        (seq_idx, num_seqs): (usize, usize),
        num_tokens: usize,
        chunk: usize,
    ) -> Option<Vec<Vec<BlockId>>> {
        let table = |pool: KvPool| {
            let share = pool.num_blocks / num_seqs;
            let block = |i: usize| BlockId((seq_idx * share + i % share) as u32);
            let fits = pool.peak_blocks(num_tokens, chunk) <= share;
            fits.then(|| (0..num_tokens.div_ceil(BLOCK_SIZE)).map(block).collect())
        };
        self.iter().map(table).collect()
    }

    /// The first pool: that of the layers that see all tokens, where there are such layers.
    #[must_use]
    pub fn first(&self) -> KvPool {
        self.first
    }

    /// All pools, in their order.
    pub fn iter(&self) -> impl Iterator<Item = KvPool> + Clone {
        std::iter::once(self.first).chain(self.second)
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        1 + usize::from(self.second.is_some())
    }

    /// The longest sequence that all pools hold, in tokens, when it is alone.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.iter().map(|pool| pool.max_tokens()).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockId, KvPool, KvPools};

    #[test]
    fn a_window_sees_its_last_tokens() {
        let pool = KvPool { num_blocks: 3, window: Some(18) };
        assert_eq!([0, 17, 18, 33, 34].map(|position| pool.first_visible(position)), [0, 0, 1, 16, 17]);
        assert_eq!([0, 32, 33, 49].map(|position| pool.first_block(position)), [0, 0, 1, 2]);
        assert_eq!(KvPool::full(3).first_block(1000), 0);
    }

    #[test]
    fn peaks_are_never_exceeded() {
        for window in 1..70 {
            let pool = KvPool { num_blocks: 0, window: Some(window) };
            for chunk in [1, 5, 16, 33] {
                let held = |start: usize| (start + chunk).div_ceil(16) - pool.first_block(start);
                let peak = (0..300).map(held).max().unwrap();
                assert_eq!(pool.peak_blocks(1000, chunk), peak, "window {window}, chunks of {chunk}");
            }
        }
        assert_eq!(KvPool { num_blocks: 0, window: Some(512) }.peak_blocks(40, 512), 3);
        assert_eq!(KvPool::full(0).peak_blocks(1000, 1), 63);
    }

    #[test]
    fn a_pool_for_windows_has_what_is_of_use() {
        let windows = [None, Some(512)];
        let blocks = |num_blocks, num_seqs| {
            let pools = KvPools::sized(&windows, num_blocks, (num_seqs, 2048));
            pools.iter().map(|pool| pool.num_blocks).collect::<Vec<_>>()
        };
        assert_eq!(blocks(10_000, 16), [10_000, 16 * 33 + 128 + 128]);
        assert_eq!(blocks(100, 16), [100, 100]);
        assert_eq!(KvPools::sized(&[Some(16)], 1000, (1, 16)).first().num_blocks, 2 + 1 + 128);
    }

    #[test]
    fn as_many_blocks_as_fit() {
        let num_bytes = |blocks: usize| 10 * blocks + 7 * blocks.min(20);
        assert_eq!(KvPools::largest_fitting(1000, 10 * 50 + 7 * 20, num_bytes), 50);
        assert_eq!(KvPools::largest_fitting(1000, 10 * 50 + 7 * 20 - 1, num_bytes), 49);
        assert_eq!(KvPools::largest_fitting(30, 1 << 20, num_bytes), 30);
        assert_eq!(KvPools::largest_fitting(30, 16, num_bytes), 0);
    }

    #[test]
    fn equal_sequences_share_the_pools() {
        let pools = KvPools::new(KvPool::full(8), Some(KvPool { num_blocks: 4, window: Some(18) }));
        assert!(pools.equal_tables((0, 2), 64, 1).is_none(), "a window of 18 tokens needs three blocks");
        let pools = KvPools::new(KvPool::full(8), Some(KvPool { num_blocks: 6, window: Some(18) }));
        let tables = pools.equal_tables((1, 2), 64, 1).unwrap();
        let ids = |table: &Vec<BlockId>| table.iter().map(|block| block.0).collect::<Vec<_>>();
        assert_eq!(tables.iter().map(ids).collect::<Vec<_>>(), [[4, 5, 6, 7], [3, 4, 5, 3]]);
    }

    #[test]
    fn a_window_that_fits_bounds_nothing() {
        let sliding = |num_blocks| KvPool { num_blocks, window: Some(18) };
        assert_eq!((sliding(2).max_tokens(), sliding(3).max_tokens()), (32, usize::MAX));
        assert_eq!(KvPools::new(KvPool::full(10), Some(sliding(3))).max_tokens(), 160);
        assert_eq!(KvPools::new(KvPool::full(10), Some(sliding(2))).max_tokens(), 32);
    }
}
