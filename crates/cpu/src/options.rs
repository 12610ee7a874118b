//! What the caller decides about an executor.

use exec::{Capacity, ModelKind};
use model::DecoderSpec;
use quant::{Isa, Precision};
use types::{BLOCK_SIZE, KvPools};

use crate::{CpuError, kv_cache::KvCache};

/// Threads at most; more than any machine has cores.
const MAX_THREADS: usize = 1024;

/// How an executor computes and what it can hold.
#[derive(Clone, Copy, Debug)]
pub struct CpuOptions {
    /// Threads that compute, the caller's included; `0` takes one per core.
    pub num_threads: usize,
    /// KV blocks ([`BLOCK_SIZE`] tokens each) in the pool of the layers that see all tokens; one for layers with a window
    /// has no more than are of use.
    pub num_blocks: usize,
    /// Sequences in one step at most.
    pub max_num_seqs: usize,
    /// Tokens in one step at most.
    pub max_num_batched_tokens: usize,
    /// Tokens in one sequence at most.
    pub max_model_len: usize,
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// What quantized weights are multiplied with.
    pub precision: Precision,
    /// The instructions to use; a lesser one than [`Isa::detect`] finds serves tests and comparisons.
    pub isa: Isa,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Single precision: the reference.
    F32,
    /// Half precision: half the memory, what `llama-server` defaults to.
    #[default]
    F16,
}

impl KvType {
    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

impl Default for CpuOptions {
    /// One sequence of 4096 tokens at a time on all cores.
    fn default() -> Self {
        Self {
            num_threads: 0,
            num_blocks: 4096 / BLOCK_SIZE,
            max_num_seqs: 1,
            max_num_batched_tokens: 512,
            max_model_len: 4096,
            kv_type: KvType::default(),
            precision: Precision::default(),
            isa: Isa::detect(),
        }
    }
}

impl CpuOptions {
    /// The number of threads, with `0` replaced.
    pub(crate) fn resolve_threads(&self) -> Result<usize, CpuError> {
        match self.num_threads {
            0 => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)),
            n if n <= MAX_THREADS => Ok(n),
            value => Err(CpuError::Option { option: "num_threads", value, expected: format!("at most {MAX_THREADS}") }),
        }
    }

    /// What the executor will be able to hold.
    fn pools(&self, spec: &DecoderSpec) -> KvPools {
        KvPools::sized(&spec.kv_layers().windows, self.num_blocks, (self.max_num_seqs, self.max_num_batched_tokens))
    }

    /// Bytes of the keys and values of all pools.
    #[must_use]
    pub fn kv_bytes(&self, spec: &DecoderSpec) -> usize {
        KvCache::num_bytes(spec, self.kv_type, self.pools(spec))
    }

    pub(crate) fn capacity(&self, spec: &DecoderSpec) -> Result<Capacity, CpuError> {
        let positive = [
            ("num_blocks", self.num_blocks),
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("max_model_len", self.max_model_len),
        ];
        if let Some((option, value)) = positive.into_iter().find(|(_, n)| *n == 0) {
            return Err(CpuError::Option { option, value, expected: "at least 1".to_owned() });
        }
        // Block ids and slots are 32-bit.
        let max_blocks = u32::MAX as usize / BLOCK_SIZE;
        if self.num_blocks > max_blocks {
            let expected = format!("at most {max_blocks}");
            return Err(CpuError::Option { option: "num_blocks", value: self.num_blocks, expected });
        }
        if let Some(most) = spec.max_positions().filter(|&most| self.max_model_len > most) {
            let expected = format!("at most {most}: the model has so many positions");
            return Err(CpuError::Option { option: "max_model_len", value: self.max_model_len, expected });
        }
        Ok(Capacity {
            pools: self.pools(spec),
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len: self.max_model_len,
            vocab_size: spec.vocab_size,
            hidden_size: spec.hidden_size,
            kind: if spec.is_encoder() { ModelKind::Encoder } else { ModelKind::Decoder },
        })
    }
}
