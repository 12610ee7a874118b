//! What an executor is asked to hold.

use exec::{Capacity, ModelKind};
use model::DecoderSpec;
use types::{BLOCK_SIZE, KvPools};

use crate::{CudaError, KvType};

/// How the products of one token alone are computed, with quantized weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoneToken {
    /// With int8 inputs: at the speed of memory.
    #[default]
    Fast,
    /// With f16 inputs, as several tokens are: a sequence gets the same numbers (up to the order of sums) whether or not
    /// others decode beside it.
    AsInBatch,
}

/// Sizes and choices, fixed once the executor is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// The device's number among the visible ones.
    pub ordinal: usize,
    /// KV blocks in the pool of the layers that see all tokens (one for layers with a window has no more than are of
    /// use); `None` takes what the device's memory leaves, up to what all sequences could use.
    pub num_blocks: Option<usize>,
    /// Sequences in one step at most.
    pub max_num_seqs: usize,
    /// Tokens in one step at most.
    pub max_num_batched_tokens: usize,
    /// Tokens in one sequence at most; lowered to what the KV blocks hold.
    pub max_model_len: usize,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Memory that stays free for others, in bytes.
    pub margin_bytes: usize,
    /// How the products of one token alone are computed.
    pub lone_token: LoneToken,
    /// Whether decode steps are replayed from captured graphs.
    pub use_graphs: bool,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            ordinal: 0,
            num_blocks: None,
            max_num_seqs: 64,
            max_num_batched_tokens: 2048,
            max_model_len: 4096,
            kv_type: KvType::F16,
            margin_bytes: 256 << 20,
            lone_token: LoneToken::default(),
            use_graphs: true,
        }
    }
}

/// Block ids and slots are 32-bit.
pub(crate) const MAX_BLOCKS: usize = u32::MAX as usize / BLOCK_SIZE;

impl CudaOptions {
    /// Checks the sizes.
    pub(crate) fn validate(&self) -> Result<(), CudaError> {
        let limits = [
            ("num_blocks", self.num_blocks.unwrap_or(1), MAX_BLOCKS),
            ("max_num_seqs", self.max_num_seqs, 1024),
            ("max_num_batched_tokens", self.max_num_batched_tokens, 65_536),
            ("max_model_len", self.max_model_len, 1 << 24),
        ];
        match limits.into_iter().find(|(_, value, limit)| *value == 0 || value > limit) {
            None => Ok(()),
            Some((name, value, limit)) => {
                Err(CudaError::Unsupported(format!("{name} is {value}; 1 to {limit} may be")))
            }
        }
    }

    /// Blocks that all sequences could fill at most.
    pub(crate) fn max_useful_blocks(&self) -> usize {
        (self.max_num_seqs * self.blocks_per_seq()).min(MAX_BLOCKS)
    }

    /// Blocks of the longest sequence.
    pub(crate) fn blocks_per_seq(&self) -> usize {
        self.max_model_len.div_ceil(BLOCK_SIZE)
    }

    /// What the executor holds with these pools.
    pub(crate) fn capacity(&self, spec: &DecoderSpec, pools: KvPools) -> Capacity {
        Capacity {
            pools,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len: self.max_model_len.min(pools.max_tokens()).min(spec.max_positions().unwrap_or(usize::MAX)),
            vocab_size: spec.vocab_size,
            hidden_size: spec.hidden_size,
            kind: if spec.is_encoder() { ModelKind::Encoder } else { ModelKind::Decoder },
        }
    }
}
