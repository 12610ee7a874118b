//! The executor under test.

use std::sync::Arc;

use cpu::{CpuExecutor, CpuOptions, KvType, Precision};
use gguf::Gguf;

use crate::runner::NUM_BLOCKS;

/// Options of the reference: everything in single precision.
pub(crate) fn exact() -> CpuOptions {
    CpuOptions {
        num_threads: 2,
        num_blocks: NUM_BLOCKS,
        max_num_seqs: 8,
        max_num_batched_tokens: 256,
        max_model_len: 256,
        kv_type: KvType::F32,
        precision: Precision::Exact,
        ..CpuOptions::default()
    }
}

pub(crate) fn executor(gguf: &Arc<Gguf>, options: CpuOptions) -> CpuExecutor {
    let spec = model::decoder_spec(gguf).expect("a model that we know");
    let max_model_len = spec.max_positions().map_or(options.max_model_len, |most| most.min(options.max_model_len));
    let options = CpuOptions { max_model_len, ..options };
    CpuExecutor::new(Arc::clone(gguf), options).expect("a model that we know")
}
