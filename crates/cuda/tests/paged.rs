//! A filled KV cache with scattered blocks, and the values it holds as f64.

use cuda::{
    KvType,
    device::{Buffer, Span},
    gpu::Gpu,
    kv_cache::{KvCache, KvLayout},
    ops::rope::{RopeKv, RopeKvInputs},
};
use model::{Activation, Attention, DecoderSpec, Ffn, Head, LayerSpec, Names, Norm, Residual, Rope};
use quant::{f16_to_f32, f32_to_f16};
use types::KvPools;

use crate::support::{Random, poisoned, upload};

pub(crate) const BLOCK: usize = 16;
/// The layer under test; another lies before it.
pub(crate) const LAYER: usize = 1;

/// A layer that leaves queries and keys as they are.
pub(crate) fn plain_attention(num_heads: usize, num_kv_heads: usize, head_dim: usize) -> Attention {
    Attention { scale: 1.0, ..Attention::plain(num_heads, num_kv_heads, head_dim, Rope::none()) }
}

/// A model of two such layers, as far as the cache is concerned.
pub(crate) fn spec(attention: &Attention) -> DecoderSpec {
    let ffn = Ffn::Gated { size: 32, activation: Activation::Silu };
    let layer = LayerSpec { attention: attention.clone(), ffn, residual: Residual::PreNorm };
    DecoderSpec {
        arch: "llama",
        name: String::new(),
        vocab_size: 32,
        hidden_size: 32,
        context_length: 4096,
        learned_positions: None,
        token_types: None,
        embedding_scale: 1.0,
        embedding_norm: false,
        per_layer_inputs: None,
        norm: Norm::Rms,
        norm_eps: 1e-6,
        layers: vec![layer.clone(), layer],
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        head: Head::Logits,
        pooling: None,
        names: Names::default(),
    }
}

/// Sequences whose keys and values lie in scattered blocks; whatever else the cache holds is NaN.
pub(crate) struct Paged {
    pub(crate) cache: KvCache,
    pub(crate) num_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) kv_type: KvType,
    pub(crate) lens: Vec<usize>,
    /// `[sequences][blocks_per_seq]`; entries behind a sequence's end name no block of the pool.
    pub(crate) tables: Vec<u32>,
    pub(crate) blocks_per_seq: usize,
    /// Of each sequence: what the cache holds, `[len][num_kv_heads * head_dim]`.
    pub(crate) keys: Vec<Vec<f32>>,
    pub(crate) values: Vec<Vec<f32>>,
}

impl Paged {
    /// Random keys and values in `[-1, 1)` for sequences of these lengths.
    pub(crate) fn new(gpu: &Gpu, (num_kv_heads, head_dim): (usize, usize), kv_type: KvType, lens: &[usize]) -> Self {
        let attention = plain_attention(num_kv_heads, num_kv_heads, head_dim);
        let (tables, blocks_per_seq, num_blocks) = scattered_tables(lens);
        let layout = KvLayout::new(&spec(&attention), kv_type).expect("a head size for the cache");
        let cache = KvCache::new(&gpu.device, layout, KvPools::full(num_blocks)).expect("room for the cache");
        gpu.device.fill_bytes(cache.bytes(), 0xff).expect("the fill works");
        let width = num_kv_heads * head_dim;
        let mut random = Random::new((head_dim * 1000 + num_kv_heads * 10 + lens.len()) as u64);
        let [mut keys, mut values] =
            [(); 2].map(|()| lens.iter().map(|len| random.floats(len * width, 1.0)).collect::<Vec<_>>());
        let mut rows = Vec::new();
        let mut slots = Vec::new();
        for (seq, &len) in lens.iter().enumerate() {
            for position in 0..len {
                let token = position * width..(position + 1) * width;
                // The query is of no use here.
                rows.extend_from_slice(&keys[seq][token.clone()]);
                rows.extend_from_slice(&keys[seq][token.clone()]);
                rows.extend_from_slice(&values[seq][token]);
                let block = tables[seq * blocks_per_seq + position / BLOCK];
                slots.push(block * BLOCK as u32 + (position % BLOCK) as u32);
            }
        }
        write(gpu, &cache, &attention, (&rows, &slots));
        keys.iter_mut().chain(&mut values).for_each(|floats| round(floats, kv_type));
        let lens = lens.to_vec();
        Self { cache, num_kv_heads, head_dim, kv_type, lens, tables, blocks_per_seq, keys, values }
    }

    /// Where each sequence's blocks start in the tables.
    pub(crate) fn table_starts(&self) -> Vec<u32> {
        (0..self.lens.len()).map(|seq| (seq * self.blocks_per_seq) as u32).collect()
    }
}

/// Writes through the production kernel, without any rotation.
fn write(gpu: &Gpu, cache: &KvCache, attention: &Attention, (rows, slots): (&[f32], &[u32])) {
    let (_qkv_buffer, qkv) = upload(gpu, rows);
    let (_slot_buffer, slot_mapping) = upload(gpu, slots);
    let (_position_buffer, positions) = upload(gpu, &vec![0_u32; slots.len()]);
    let (_freq_buffer, inv_freqs): (Buffer, Span<f32>) = upload(gpu, &[]);
    let (_query_buffer, queries) = poisoned(gpu, slots.len() * attention.q_size());
    let inputs = RopeKvInputs {
        attention,
        norm_eps: 0.0,
        centered_norms: false,
        qkv,
        q_norm: None,
        k_norm: None,
        inv_freqs,
        positions,
        slot_mapping,
        queries,
        cache: cache.layer(LAYER),
    };
    RopeKv::new(gpu).expect("the kernel").run(&gpu.device, &inputs).expect("a launch");
    gpu.device.synchronize().expect("the launch works");
}

/// Each sequence's blocks in an order that has nothing to do with their numbers; the length of a row; blocks of the
/// pool, some of which nobody has.
fn scattered_tables(lens: &[usize]) -> (Vec<u32>, usize, usize) {
    let num_used: usize = lens.iter().map(|len| len.div_ceil(BLOCK)).sum();
    let num_blocks = num_used + 7;
    let mut order: Vec<u32> = (0..num_blocks as u32).collect();
    let mut random = Random::new(num_blocks as u64);
    (1..num_blocks).rev().for_each(|i| order.swap(i, random.below(i + 1)));
    let blocks_per_seq = lens.iter().map(|len| len.div_ceil(BLOCK)).max().unwrap_or(0) + 2;
    let mut tables = Vec::new();
    let mut next = order.into_iter();
    for len in lens {
        tables.extend(next.by_ref().take(len.div_ceil(BLOCK)));
        tables.resize(tables.len().next_multiple_of(blocks_per_seq), u32::MAX / 32);
    }
    // A sequence without tokens has no row yet.
    tables.resize(lens.len() * blocks_per_seq, u32::MAX / 32);
    (tables, blocks_per_seq, num_blocks)
}

/// What the cache keeps of values: f16, or q8_0 in blocks of 32 with a scale rounded to f16.
pub(crate) fn round(values: &mut [f32], kv_type: KvType) {
    match kv_type {
        KvType::F16 => values.iter_mut().for_each(|x| *x = f16_to_f32(f32_to_f16(*x))),
        KvType::Q8_0 => values.chunks_exact_mut(32).for_each(|block| {
            let amax = block.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            let scale = f16_to_f32(f32_to_f16(amax / 127.0));
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            block.iter_mut().for_each(|x| *x = scale * (*x * inverse).round_ties_even().clamp(-127.0, 127.0));
        }),
    }
}
