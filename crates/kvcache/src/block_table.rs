//! The blocks of one sequence, in order.

use std::sync::Arc;

use types::{BLOCK_SIZE, BlockId, TokenId};

use crate::{
    KvCache, OutOfBlocks, Sharing,
    pool::{ContentId, ContentKey},
};

/// The blocks of one sequence; gives them back when it is dropped.
///
/// A prefix of them is known to the prefix cache and only read from then on; those after it belong to this table
/// alone, so that writing never touches another sequence.
pub struct BlockTable {
    cache: KvCache,
    blocks: Arc<Vec<BlockId>>,
    sharing: Sharing,
    /// Blocks whose content is known: taken from the cache or published.
    num_known: usize,
    /// The content of the last of them.
    last_content: ContentId,
}

impl BlockTable {
    pub(crate) fn new(cache: KvCache, sharing: Sharing) -> Self {
        Self { cache, blocks: Arc::default(), sharing, num_known: 0, last_content: ContentId::START }
    }

    /// The blocks in order. The list is shared, not copied, until the table grows.
    #[must_use]
    pub fn blocks(&self) -> &Arc<Vec<BlockId>> {
        &self.blocks
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
        assert!(self.blocks.is_empty(), "a prefix is taken into a table with {} blocks", self.blocks.len());
        if self.sharing == Sharing::Private {
            return 0;
        }
        let computable = &tokens[..tokens.len().saturating_sub(1)];
        let (full, _) = computable.as_chunks::<BLOCK_SIZE>();
        let mut pool = self.cache.pool();
        let mut blocks = Vec::new();
        for &tokens in full {
            let Some((block, id)) = pool.take_content(&ContentKey { parent: self.last_content, tokens }) else { break };
            blocks.push(block);
            self.last_content = id;
        }
        drop(pool);
        self.num_known = blocks.len();
        self.blocks = Arc::new(blocks);
        self.num_known * BLOCK_SIZE
    }

    /// Blocks that the table lacks to hold `num_tokens` tokens.
    #[must_use]
    pub fn num_missing(&self, num_tokens: usize) -> usize {
        num_tokens.div_ceil(BLOCK_SIZE).saturating_sub(self.blocks.len())
    }

    /// Grows the table to hold `num_tokens` tokens.
    ///
    /// # Errors
    /// [`OutOfBlocks`] when the pool has too few blocks; the table is unchanged then.
    pub fn grow(&mut self, num_tokens: usize) -> Result<(), OutOfBlocks> {
        let needed = self.num_missing(num_tokens);
        if needed == 0 {
            return Ok(());
        }
        let mut pool = self.cache.pool();
        let available = pool.num_free() + pool.num_cached();
        if needed > available {
            return Err(OutOfBlocks { needed, available });
        }
        let blocks = Arc::make_mut(&mut self.blocks);
        blocks.extend((0..needed).map(|_| pool.take().expect("as many blocks are available as were counted")));
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
        assert!(num_full <= self.blocks.len(), "{num_full} blocks are computed, the table has {}", self.blocks.len());
        assert!(num_computed <= tokens.len(), "{num_computed} tokens are computed, there are {}", tokens.len());
        let (full, _) = tokens.as_chunks::<BLOCK_SIZE>();
        let mut pool = self.cache.pool();
        let fresh = self.num_known..num_full;
        for (&block, &tokens) in self.blocks[fresh.clone()].iter().zip(&full[fresh]) {
            self.last_content = pool.publish(block, ContentKey { parent: self.last_content, tokens });
        }
        self.num_known = num_full;
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        let mut pool = self.cache.pool();
        // From the end, so that a sequence's later blocks are evicted before those that they need.
        self.blocks.iter().rev().for_each(|&block| pool.release(block));
    }
}

#[cfg(test)]
mod tests;
