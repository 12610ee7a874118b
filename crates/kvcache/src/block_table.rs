//! The blocks of one sequence, in order.

use std::sync::Arc;

use types::{BLOCK_SIZE, BlockId, MAX_KV_POOLS, TokenId};

use crate::{
    KvCache, OutOfBlocks, Sharing,
    cache::State,
    contents::{ContentId, ContentKey},
};

/// The blocks of one sequence, in each pool; gives them back when it is dropped.
///
/// A prefix of them is known to the prefix cache and only read from then on; those after it belong to this table
/// alone, so that writing never touches another sequence.
pub struct BlockTable {
    cache: KvCache,
    blocks: Arc<Vec<Vec<BlockId>>>,
    /// Blocks before these have been given back, in each pool.
    first_held: [usize; MAX_KV_POOLS],
    sharing: Sharing,
    /// Blocks whose content is known: taken from the cache or published.
    num_known: usize,
    /// The content of the last of them.
    last_content: ContentId,
}

impl BlockTable {
    pub(crate) fn new(cache: KvCache, sharing: Sharing) -> Self {
        let num_pools = cache.state().pools.len();
        Self {
            cache,
            blocks: Arc::new(vec![Vec::new(); num_pools]),
            first_held: [0; MAX_KV_POOLS],
            sharing,
            num_known: 0,
            last_content: ContentId::START,
        }
    }

    /// The blocks in order, of each pool; [`BlockId::NULL`] where they have been given back. The lists are shared, not
    /// copied, until they change.
    #[must_use]
    pub fn blocks(&self) -> &Arc<Vec<Vec<BlockId>>> {
        &self.blocks
    }

    /// Blocks of each pool, those included that have been given back.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.blocks[0].len()
    }

    /// Whether the table takes part in the prefix cache.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// Takes the longest known prefix of a sequence into the empty table and returns its length in tokens.
    ///
    /// At least the last token is left out, whose computation gives the next one. Linear in the prefix.
    ///
    /// # Panics
    /// When the table has blocks already.
    pub fn take_prefix(&mut self, tokens: &[TokenId]) -> usize {
        assert_eq!(self.num_blocks(), 0, "a prefix is taken into a table with {} blocks", self.num_blocks());
        if self.sharing == Sharing::Private {
            return 0;
        }
        let computable = &tokens[..tokens.len().saturating_sub(1)];
        let mut state = self.cache.state();
        let mut contents = known_contents(&state, computable);
        contents.truncate(usable_len(&state, &contents));
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for pool_idx in 0..self.blocks.len() {
            let first = state.pools[pool_idx].spec().first_block(contents.len() * BLOCK_SIZE);
            let mut taken = vec![BlockId::NULL; first];
            for &content in &contents[first..] {
                let block = state.contents.block(content, pool_idx).expect("a usable prefix has its blocks");
                state.pools[pool_idx].share(block);
                taken.push(block);
            }
            self.first_held[pool_idx] = first;
            blocks.push(taken);
        }
        drop(state);
        self.blocks = Arc::new(blocks);
        self.num_known = contents.len();
        self.last_content = contents.last().copied().unwrap_or(ContentId::START);
        self.num_known * BLOCK_SIZE
    }

    /// Blocks that the table lacks in each pool to compute a sequence of `num_tokens` tokens, by steps of `chunk` of them
    /// at most.
    #[must_use]
    pub fn num_missing(&self, num_tokens: usize, chunk: usize) -> [usize; MAX_KV_POOLS] {
        let state = self.cache.state();
        std::array::from_fn(|pool_idx| {
            let Some(pool) = state.pools.get(pool_idx) else { return 0 };
            let num_new = num_tokens.div_ceil(BLOCK_SIZE).saturating_sub(self.num_blocks());
            let num_held = self.num_blocks() - self.first_held[pool_idx];
            num_new.min(pool.spec().peak_blocks(num_tokens, chunk).saturating_sub(num_held))
        })
    }

    /// Gives back the blocks whose tokens neither the token at `num_computed` nor a later one sees.
    pub fn slide(&mut self, num_computed: usize) {
        let mut state = self.cache.state();
        for (pool_idx, first_held) in self.first_held[..self.blocks.len()].iter_mut().enumerate() {
            let pool = &mut state.pools[pool_idx];
            let end = pool.spec().first_block(num_computed).min(self.blocks[pool_idx].len());
            if *first_held < end {
                let hidden = &mut Arc::make_mut(&mut self.blocks)[pool_idx][*first_held..end];
                hidden.iter_mut().for_each(|block| pool.release(std::mem::replace(block, BlockId::NULL)));
                *first_held = end;
            }
        }
    }

    /// How many tokens the table can hold when it grows by all blocks that can be had.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        let state = self.cache.state();
        let num_available = state.pools.iter().map(|pool| pool.usage().num_available()).min().unwrap_or(0);
        (self.num_blocks() + num_available) * BLOCK_SIZE
    }

    /// Grows the table to hold `num_tokens` tokens.
    ///
    /// # Errors
    /// [`OutOfBlocks`] when a pool has too few blocks; the table is unchanged then.
    pub fn grow(&mut self, num_tokens: usize) -> Result<(), OutOfBlocks> {
        let needed = num_tokens.div_ceil(BLOCK_SIZE).saturating_sub(self.num_blocks());
        if needed == 0 {
            return Ok(());
        }
        let mut state = self.cache.state();
        let available = state.pools.iter().map(|pool| pool.usage().num_available()).min().unwrap_or(0);
        if needed > available {
            return Err(OutOfBlocks { needed, available });
        }
        for (pool_idx, blocks) in Arc::make_mut(&mut self.blocks).iter_mut().enumerate() {
            let mut take = || state.take(pool_idx).expect("as many blocks are available as were counted");
            blocks.extend((0..needed).map(|_| take()));
        }
        Ok(())
    }

    /// Makes the content of full blocks known, whose keys and values are computed: the first `num_computed` tokens.
    ///
    /// # Panics
    /// When the table or `tokens` is shorter than `num_computed`.
    pub fn publish(&mut self, tokens: &[TokenId], num_computed: usize) {
        let num_full = num_computed / BLOCK_SIZE;
        if self.sharing == Sharing::Private || num_full <= self.num_known {
            return;
        }
        let num_blocks = self.num_blocks();
        assert!(num_full <= num_blocks, "{num_full} blocks are computed, the table has {num_blocks}");
        assert!(num_computed <= tokens.len(), "{num_computed} tokens are computed, there are {}", tokens.len());
        let (full, _) = tokens.as_chunks::<BLOCK_SIZE>();
        let mut state = self.cache.state();
        for (block_idx, &tokens) in full.iter().enumerate().take(num_full).skip(self.num_known) {
            let held = |pool_idx: &usize| self.first_held[*pool_idx] <= block_idx;
            let pools: Vec<_> = (0..self.blocks.len()).filter(held).collect();
            assert!(!pools.is_empty(), "block {block_idx} is published after it was given back");
            let key = ContentKey { parent: self.last_content, tokens };
            self.last_content = state.contents.find_or_add(key);
            for pool_idx in pools {
                state.publish(pool_idx, self.blocks[pool_idx][block_idx], self.last_content);
            }
        }
        self.num_known = num_full;
    }
}

/// The contents of a sequence's full blocks from its beginning on, as far as they are known.
fn known_contents(state: &State, tokens: &[TokenId]) -> Vec<ContentId> {
    let (full, _) = tokens.as_chunks::<BLOCK_SIZE>();
    let mut parent = ContentId::START;
    let next = |&tokens: &[TokenId; BLOCK_SIZE]| {
        parent = state.contents.find(&ContentKey { parent, tokens })?;
        Some(parent)
    };
    full.iter().map_while(next).collect()
}

/// The longest beginning of `contents` after which every pool has the blocks that the next token sees.
fn usable_len(state: &State, contents: &[ContentId]) -> usize {
    // Of each pool, how many blocks up to here follow one another without a gap.
    let mut runs = [0; MAX_KV_POOLS];
    let mut usable = 0;
    for (block_idx, &content) in contents.iter().enumerate() {
        let len = block_idx + 1;
        let mut is_usable = true;
        for (pool_idx, (pool, run)) in state.pools.iter().zip(&mut runs).enumerate() {
            *run = if state.contents.block(content, pool_idx).is_some() { *run + 1 } else { 0 };
            is_usable &= *run >= len - pool.spec().first_block(len * BLOCK_SIZE).min(len);
        }
        if is_usable {
            usable = len;
        }
    }
    usable
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        // From the end, so that a sequence's later blocks are evicted before those that they need.
        for (pool_idx, blocks) in self.blocks.iter().enumerate() {
            blocks[self.first_held[pool_idx]..].iter().rev().for_each(|&block| state.pools[pool_idx].release(block));
        }
    }
}

#[cfg(test)]
mod tests;
