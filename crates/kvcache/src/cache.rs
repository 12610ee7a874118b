//! The cache as the scheduler sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::BlockId;

use crate::{BlockTable, pool::Pool};

/// A pool of blocks; clones share it.
///
/// The lock is never contended, since one scheduler owns all tables. It is there so that a table can give its blocks
/// back when it is dropped, wherever that happens: they cannot be forgotten.
#[derive(Clone)]
pub struct KvCache {
    pool: Arc<Mutex<Pool>>,
}

/// Whether a table takes part in the prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It takes known blocks and leaves its own.
    Shared,
    /// It does neither.
    Private,
}

/// How many blocks are in which state.
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

impl KvCache {
    /// A cache of `num_blocks` free blocks.
    ///
    /// # Panics
    /// When `num_blocks` does not fit a [`BlockId`].
    #[must_use]
    pub fn new(num_blocks: usize) -> Self {
        Self { pool: Arc::new(Mutex::new(Pool::new(num_blocks))) }
    }

    /// An empty table.
    #[must_use]
    pub fn table(&self, sharing: Sharing) -> BlockTable {
        BlockTable::new(self.clone(), sharing)
    }

    /// How many blocks are in which state.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let pool = self.pool();
        Usage { num_blocks: pool.num_blocks(), num_free: pool.num_free(), num_cached: pool.num_cached() }
    }

    /// Whether exactly one table holds the block and the prefix cache does not know it: only such a block may be
    /// written.
    #[must_use]
    pub fn is_writable(&self, block: BlockId) -> bool {
        let pool = self.pool();
        pool.num_refs(block) == 1 && !pool.is_indexed(block)
    }

    /// Forgets all cached blocks; those that tables hold stay known.
    pub fn forget_cached(&self) {
        self.pool().forget_cached();
    }

    /// Checks the whole state against the tables, which must be all there are. Linear in the pool; for tests.
    ///
    /// # Panics
    /// When a count or list is wrong; the message names the block and both numbers.
    pub fn check_integrity<'a>(&self, tables: impl IntoIterator<Item = &'a BlockTable>) {
        let mut num_holders = vec![0; self.usage().num_blocks];
        for table in tables {
            table.blocks().iter().for_each(|block| num_holders[block.index()] += 1);
        }
        self.pool().check_integrity(&num_holders);
    }

    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        // A panic under the lock is a broken invariant, which ends the engine; tables are still dropped after it.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
