//! Rotation and the write into the KV cache: one launch per layer.

use cuda::{
    CudaError, KvType,
    device::Buffer,
    kv_cache::{KvCache, KvLayout},
    ops::rope::{RopeKv, RopeKvInputs},
};
use model::QkNorm;
use types::KvPools;

use crate::{
    attention::{LAYERS, Layer, upload},
    support::Bench,
};

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for layer in &LAYERS[..3] {
        for (kv_type, tokens) in
            [(KvType::F16, 1), (KvType::F16, 64), (KvType::F16, 2048), (KvType::Q8_0, 1), (KvType::Q8_0, 2048)]
        {
            case(bench, layer, kv_type, tokens)?;
        }
    }
    Ok(())
}

fn case(bench: &Bench, layer: &Layer, kv_type: KvType, tokens: usize) -> Result<(), CudaError> {
    let (gpu, mut spec) = (&bench.gpu, layer.attention());
    if layer.name.starts_with("Gemma") {
        spec.qk_norm = QkNorm::PerHead;
    }
    let layout = KvLayout::new(&layer.spec(1), kv_type)?;
    let block_bytes = layout.block_bytes();
    let cache = KvCache::new(&gpu.device, layout, KvPools::full(tokens.div_ceil(16)))?;
    let row = spec.q_size() + 2 * spec.kv_size();
    // A step finds its rows in the second-level cache: one set of buffers.
    let qkv = Buffer::new(&gpu.device, 4 * tokens * row, "bench")?;
    let queries = Buffer::new(&gpu.device, 2 * tokens * spec.q_size(), "bench")?;
    let (_freqs, inv_freqs) = upload(gpu, &spec.rope.inv_freqs(None))?;
    let (_positions, positions) = upload(gpu, &(0..tokens as u32).map(|i| i + 1000).collect::<Vec<_>>())?;
    let (_slots, slot_mapping) = upload(gpu, &(0..tokens as u32).collect::<Vec<_>>())?;
    let norms = Buffer::new(&gpu.device, 4 * spec.head_dim, "bench")?;
    let inputs = RopeKvInputs {
        attention: &spec,
        norm_eps: 1e-6,
        centered_norms: false,
        qkv: qkv.all(),
        q_norm: Some(norms.all()),
        k_norm: Some(norms.all()),
        inv_freqs,
        positions,
        slot_mapping,
        queries: queries.all(),
        cache: cache.layer(0),
    };
    let op = RopeKv::new(gpu)?;
    let us = bench.time_us(50, |_| op.run(&gpu.device, &inputs))?;
    let bytes = tokens * (4 * row + 2 * spec.q_size() + block_bytes / 16);
    bench.report_bytes("rope_kv", &format!("{} {}, {tokens} tokens", layer.name, kv_type.name()), us, bytes);
    Ok(())
}
