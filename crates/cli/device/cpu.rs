//! The processor as a device.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Context;
use cpu::{CpuExecutor, CpuOptions, KvType};
use gguf::Gguf;
use types::{BLOCK_SIZE, KvPools};

use super::{
    CacheType, DeviceArgs, Loaded, Wanted,
    memory::{available_bytes, read_bandwidth},
};
use crate::progress::LoadBar;

/// Keys and values take this share of the free memory where the context size follows from it: the machine has other
/// work to do.
const KV_SHARE: u64 = 4;
/// Threads that wait for the disk.
const READ_THREADS: usize = 4;
/// More blocks than any memory holds; their ids are 32-bit.
const MAX_BLOCKS: usize = u32::MAX as usize / BLOCK_SIZE;

/// Maps the weights and makes the KV pool.
pub(super) fn load(gguf: Arc<Gguf>, args: &DeviceArgs, wanted: &Wanted, bar: &LoadBar) -> anyhow::Result<Loaded> {
    let spec = model::decoder_spec(&gguf)?;
    let kv_type = match args.cache_type_k {
        CacheType::F16 => KvType::F16,
        CacheType::F32 => KvType::F32,
        CacheType::Q8_0 => anyhow::bail!("--cache-type-k q8_0 is for the GPU; the CPU keeps f16 or f32"),
    };
    let num_threads = num_threads(args.threads)?;
    let options = CpuOptions {
        num_threads,
        max_num_seqs: wanted.num_seqs,
        max_num_batched_tokens: wanted.num_batched_tokens,
        kv_type,
        ..CpuOptions::default()
    };
    let kv_bytes = |num_blocks: usize| CpuOptions { num_blocks, ..options }.kv_bytes(&spec);
    let free = available_bytes();
    let kv_room = (free / KV_SHARE).min(free.saturating_sub(gguf.weight_bytes() + (args.fit_target << 20)));
    let room = usize::try_from(kv_room).unwrap_or(usize::MAX);
    let pool = wanted.pool(spec.context_length, KvPools::largest_fitting(MAX_BLOCKS, room, kv_bytes))?;
    let options = CpuOptions { num_blocks: pool.num_blocks, max_model_len: pool.max_model_len, ..options };
    let executor = CpuExecutor::new(Arc::clone(&gguf), options).context("cannot load the model on the CPU")?;
    read_weights(&gguf, bar);
    Ok(Loaded {
        device: executor.description(),
        executor: Box::new(executor),
        kv_bytes: kv_bytes(pool.num_blocks) as u64,
        // One block has all layers.
        kv_bytes_per_token: (kv_bytes(1) / BLOCK_SIZE) as u64,
        read_bandwidth: Box::new(move || Ok(read_bandwidth(num_threads))),
    })
}

fn num_threads(threads: i64) -> anyhow::Result<usize> {
    match threads {
        -1 | 0 => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        n => usize::try_from(n).map_err(|_| anyhow::anyhow!("--threads is {n}; it must be -1 or at least 1")),
    }
}

/// Brings the mapped file into memory, so that the first request need not wait for the disk. Several threads keep
/// the disk busy.
fn read_weights(gguf: &Gguf, bar: &LoadBar) {
    bar.start(gguf.weight_bytes());
    let next = AtomicUsize::new(0);
    let read = || {
        while let Some(tensor) = gguf.tensors().get(next.fetch_add(1, Ordering::Relaxed)) {
            gguf.populate(tensor);
            bar.advance(tensor.num_bytes as u64);
        }
    };
    std::thread::scope(|scope| (0..READ_THREADS).for_each(|_| drop(scope.spawn(read))));
    bar.finish();
}
