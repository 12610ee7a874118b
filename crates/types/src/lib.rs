//! Ids, sampling parameters and other data that cross more than one crate boundary.
//!
//! Invariant: plain data without dependencies; nothing here can fail, allocate a device or know about text.

mod ids;
mod input_sums;
mod kv_pool;
mod pooling;
mod sampling_params;

pub use ids::{BlockId, RequestId, SeqId, TokenId};
pub use input_sums::{InputSums, TensorSums};
pub use kv_pool::{KvPool, KvPools, MAX_KV_POOLS};
pub use pooling::Pooling;
pub use sampling_params::SamplingParams;

/// Tokens in one KV cache block.
pub const BLOCK_SIZE: usize = 16;
