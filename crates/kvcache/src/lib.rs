//! Who holds which block of the KV cache: the pool, block tables and the prefix cache.
//!
//! A block is in exactly one of three states. *Used*: at least one [`BlockTable`] holds it. *Cached*: no table does,
//! but its content is known and may be taken again. *Free*: it holds nothing. Cached blocks are taken back, least
//! recently used first, when no free one is left.
//!
//! Invariant: bookkeeping only, no memory of any device; free + cached + used = all blocks, after every call.

mod block_table;
mod cache;
mod lru;
mod pool;

pub use block_table::BlockTable;
pub use cache::{KvCache, OutOfBlocks, Sharing, Usage};
