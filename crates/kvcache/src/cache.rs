//! The cache as the scheduler sees it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use types::{BlockId, KvPools};

use crate::{
    BlockTable,
    contents::{ContentId, Contents},
    pool::Pool,
};

/// The pools of blocks; clones share them.
///
/// The lock is never contended, since one scheduler owns all tables. It is there so that a table can give its blocks
/// back when it is dropped, wherever that happens: they cannot be forgotten.
#[derive(Clone)]
pub struct KvCache {
    state: Arc<Mutex<State>>,
}

/// The pools and what is known of their blocks.
pub(crate) struct State {
    pub(crate) pools: Vec<Pool>,
    pub(crate) contents: Contents,
}

/// Whether a table takes part in the prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It takes known blocks and leaves its own.
    Shared,
    /// It does neither.
    Private,
}

/// How many blocks of a pool are in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// All blocks of the pool.
    pub num_blocks: usize,
    /// Those that hold nothing.
    pub num_free: usize,
    /// Those that only the prefix cache holds.
    pub num_cached: usize,
}

impl Usage {
    /// Blocks that at least one table holds.
    #[must_use]
    pub fn num_used(&self) -> usize {
        self.num_blocks - self.num_available()
    }

    /// Blocks that a table can get: free ones and, after those, cached ones.
    #[must_use]
    pub fn num_available(&self) -> usize {
        self.num_free + self.num_cached
    }
}

/// A table could not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} more blocks are needed, {available} are available")]
pub struct OutOfBlocks {
    /// Blocks that the table lacks.
    pub needed: usize,
    /// Blocks that it could get.
    pub available: usize,
}

impl State {
    /// A block for one new table.
    pub(crate) fn take(&mut self, pool_idx: usize) -> Option<BlockId> {
        let (block, evicted) = self.pools[pool_idx].take()?;
        if let Some(content) = evicted {
            self.contents.clear_block(content, pool_idx);
        }
        Some(block)
    }

    /// Makes a held block's content known. Where another block of the pool has the same content already, that one stays
    /// the known one.
    pub(crate) fn publish(&mut self, pool_idx: usize, block: BlockId, content: ContentId) {
        if self.contents.block(content, pool_idx).is_none() {
            self.contents.set_block(content, pool_idx, block);
            self.pools[pool_idx].publish(block, content);
        }
    }
}

impl KvCache {
    /// A cache of free blocks.
    ///
    /// # Panics
    /// When the number of a pool's blocks does not fit a [`BlockId`].
    #[must_use]
    pub fn new(pools: KvPools) -> Self {
        let state = State { pools: pools.iter().map(Pool::new).collect(), contents: Contents::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// An empty table.
    #[must_use]
    pub fn table(&self, sharing: Sharing) -> BlockTable {
        BlockTable::new(self.clone(), sharing)
    }

    /// How many blocks are in which state, in each pool.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.state().pools.iter().map(Pool::usage).collect()
    }

    /// Whether exactly one table holds the block and the prefix cache does not know it: only such a block may be
    /// written.
    #[must_use]
    pub fn is_writable(&self, pool_idx: usize, block: BlockId) -> bool {
        let pool = &self.state().pools[pool_idx];
        pool.num_refs(block) == 1 && !pool.is_indexed(block)
    }

    /// Forgets all cached blocks; those that tables hold stay known.
    pub fn forget_cached(&self) {
        let State { pools, contents } = &mut *self.state();
        for (pool_idx, pool) in pools.iter_mut().enumerate() {
            while let Some(content) = pool.forget_one() {
                contents.clear_block(content, pool_idx);
            }
        }
    }

    /// Checks the whole state against the tables, which must be all there are. Linear in the pools; for tests.
    ///
    /// # Panics
    /// When a count or list is wrong; the message names the block and both numbers.
    pub fn check_integrity<'a>(&self, tables: impl IntoIterator<Item = &'a BlockTable>) {
        let mut num_holders: Vec<_> = self.usage().iter().map(|usage| vec![0; usage.num_blocks]).collect();
        for table in tables {
            for (num_holders, blocks) in num_holders.iter_mut().zip(&**table.blocks()) {
                let held = blocks.iter().filter(|block| **block != BlockId::NULL);
                held.for_each(|block| num_holders[block.index()] += 1);
            }
        }
        let state = self.state();
        let mut held = HashMap::new();
        for (pool_idx, (pool, num_holders)) in state.pools.iter().zip(&num_holders).enumerate() {
            for (content, block) in pool.check_integrity(num_holders) {
                let other = held.insert((content, pool_idx), block);
                assert_eq!(other, None, "blocks {block} and {other:?} of pool {pool_idx} have one content");
            }
        }
        state.contents.check_integrity(&held);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant, which ends the engine; tables are still dropped after it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
