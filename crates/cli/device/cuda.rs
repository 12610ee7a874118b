//! An NVIDIA GPU as a device.

use anyhow::Context;
use cuda::{CudaExecutor, CudaOptions, KvType, LoneToken};
use gguf::Gguf;
use types::BLOCK_SIZE;

use super::{CacheType, DeviceArgs, Loaded, Wanted};
use crate::progress::LoadBar;

/// Copies the weights to the GPU and makes the KV pool of what is left.
pub(super) fn load(gguf: &Gguf, args: &DeviceArgs, wanted: &Wanted, bar: &LoadBar) -> anyhow::Result<Loaded> {
    let spec = model::decoder_spec(gguf)?;
    let kv_type = match args.cache_type_k {
        CacheType::F16 => KvType::F16,
        CacheType::Q8_0 => KvType::Q8_0,
        CacheType::F32 => anyhow::bail!("--cache-type-k f32 is for the CPU; the GPU keeps f16 or q8_0"),
    };
    let options = CudaOptions {
        num_blocks: wanted.num_tokens.map(|tokens| tokens.div_ceil(BLOCK_SIZE)),
        max_num_seqs: wanted.num_seqs,
        max_num_batched_tokens: wanted.num_batched_tokens,
        max_model_len: wanted.seq_tokens.unwrap_or(spec.context_length).min(wanted.num_tokens.unwrap_or(usize::MAX)),
        kv_type,
        lone_token: if args.batch_invariant { LoneToken::AsInBatch } else { LoneToken::Fast },
        margin_bytes: usize::try_from(args.fit_target << 20).unwrap_or(usize::MAX),
        ..CudaOptions::default()
    };
    bar.start(gguf.weight_bytes());
    let executor = CudaExecutor::new(gguf, options, &mut |bytes| bar.advance(bytes as u64))
        .context("cannot load the model on the GPU")?;
    bar.finish();
    let (memory, bandwidth) = (executor.memory(), executor.copy_bandwidth());
    Ok(Loaded {
        device: executor.description().to_owned(),
        kv_bytes: memory.kv_bytes as u64,
        kv_bytes_per_token: memory.kv_bytes_per_token as u64,
        read_bandwidth: Box::new(move || Ok(bandwidth)),
        executor: Box::new(executor),
    })
}
