//! Who holds which block of the KV cache: the pool, block tables and the prefix cache.
//!
//! A block is in exactly one of three states. *Used*: at least one [`BlockTable`] holds it. *Cached*: no table does,
//! but its content is known and may be taken again. *Free*: it holds nothing. Cached blocks are taken back, least
//! recently used first, when no free one is left.
//!
//! There is a pool for the layers that see all tokens, one for those that see a window, or both. A table has blocks of
//! each. Those whose tokens fell out of the window it gives back; a prefix is found where all of it is known in the first
//! pool, and in the other what its last token's successor sees.
//!
//! Invariant: bookkeeping only, no memory of any device; free + cached + used = all blocks, after every call.

mod block_table;
mod cache;
mod contents;
mod lru;
mod pool;

pub use block_table::BlockTable;
pub use cache::{KvCache, OutOfBlocks, Sharing, Usage};
