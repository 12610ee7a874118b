//! Attention of decoded sequences (bytes of keys and values) and of prompts (operations), over a scattered cache.

use cuda::{
    CudaError, KvType,
    device::{Buffer, Plain, Span},
    gpu::Gpu,
    kv_cache::{KvCache, KvLayout},
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        attention::{
            Attention, AttentionInputs, AttentionMeta, AttentionPlan, AttentionWorkspace, DecodeSeqs, HeadShape,
            PrefillTile, tile_tokens,
        },
    },
};
use model::{Activation, DecoderSpec, Ffn, Head, Latent, LayerSpec, Mask, Names, Norm, Residual, Rope, RopeStyle};
use types::KvPools;

use crate::support::Bench;

const BLOCK: usize = 16;
/// Launches rotate over layers whose keys and values take so much, more than any second-level cache.
const ROTATED_BYTES: usize = 512 << 20;

/// Heads of a real model's layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) num_heads: usize,
    pub(crate) num_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) window: Option<usize>,
    /// Elements of a head that a latent has.
    pub(crate) kv_rank: Option<usize>,
}

const fn layer(name: &'static str, [num_heads, num_kv_heads, head_dim]: [usize; 3]) -> Layer {
    Layer { name, num_heads, num_kv_heads, head_dim, window: None, kv_rank: None }
}

pub(crate) const LAYERS: [Layer; 6] = [
    layer("Llama 8B", [32, 8, 128]),
    layer("Llama 1B", [32, 8, 64]),
    layer("Gemma-3-1B", [4, 1, 256]),
    Layer { window: Some(512), ..layer("Gemma-3-1B sliding", [4, 1, 256]) },
    layer("heads of 512", [16, 2, 512]),
    Layer { kv_rank: Some(512), ..layer("latents of 512 + 64", [16, 1, 576]) },
];

impl Layer {
    pub(crate) fn attention(&self) -> model::Attention {
        let Self { num_heads, num_kv_heads, head_dim, window, kv_rank, .. } = *self;
        let rope = Rope::new(RopeStyle::Norm, kv_rank.map_or(head_dim, |kv_rank| head_dim - kv_rank), 5e5);
        let latent = kv_rank.map(|kv_rank| Latent { q_rank: None, kv_rank, nope_dim: 128, value_dim: 128 });
        let mask = window.map_or(Mask::Full, |window| Mask::Sliding { window });
        model::Attention { mask, latent, ..model::Attention::plain(num_heads, num_kv_heads, head_dim, rope) }
    }

    /// A model of so many such layers, as far as the cache is concerned.
    pub(crate) fn spec(&self, num_layers: usize) -> DecoderSpec {
        let ffn = Ffn::Gated { size: 32, activation: Activation::Silu };
        let layer = LayerSpec { attention: self.attention(), ffn, residual: Residual::PreNorm };
        DecoderSpec {
            arch: "llama",
            name: self.name.to_owned(),
            vocab_size: 32,
            hidden_size: 32,
            context_length: 8192,
            learned_positions: None,
            token_types: None,
            embedding_scale: 1.0,
            embedding_norm: false,
            per_layer_inputs: None,
            norm: Norm::Rms,
            norm_eps: 1e-6,
            layers: vec![layer; num_layers],
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            head: Head::Logits,
            pooling: None,
            names: Names::default(),
        }
    }
}

/// `batch` sequences of length `context`; the last `count` tokens of each are queries.
#[derive(Clone, Copy)]
struct Load {
    batch: usize,
    context: usize,
    count: usize,
}

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for kv_type in [KvType::F16, KvType::Q8_0] {
        for layer in LAYERS {
            for (batch, context) in [(1, 512), (1, 4096), (8, 512), (8, 4096), (64, 512), (64, 4096)] {
                case(bench, &layer, kv_type, Load { batch, context, count: 1 })?;
            }
            for context in [512, 2048] {
                case(bench, &layer, kv_type, Load { batch: 1, context, count: context })?;
            }
        }
    }
    Ok(())
}

fn case(bench: &Bench, layer: &Layer, kv_type: KvType, load: Load) -> Result<(), CudaError> {
    let (gpu, spec) = (&bench.gpu, layer.attention());
    let Load { batch, context, count } = load;
    let (blocks_per_seq, num_tokens) = (context.div_ceil(BLOCK), batch * count);
    let num_blocks = batch * blocks_per_seq;
    let layer_bytes = num_blocks * KvLayout::new(&layer.spec(1), kv_type)?.block_bytes();
    let num_layers = ROTATED_BYTES.div_ceil(layer_bytes).clamp(2, 128);
    let cache = KvCache::new(&gpu.device, KvLayout::new(&layer.spec(num_layers), kv_type)?, KvPools::full(num_blocks))?;
    let shape = HeadShape::of(&spec);
    let op = Attention::new(gpu, shape, kv_type)?;
    let workspace = AttentionWorkspace::new(&gpu.device, &[shape], batch)?;

    let seq_lens = vec![context as u32; batch];
    let cu_seqlens: Vec<u32> = (0..=batch).map(|seq| (seq * count) as u32).collect();
    // 7919 is prime: blocks in an order that has nothing to do with their numbers.
    let tables: Vec<u32> = (0..num_blocks).map(|i| (i * 7919 % num_blocks) as u32).collect();
    let mut plan = AttentionPlan::default();
    plan.fill(&cu_seqlens, &seq_lens, tile_tokens(shape.group_size()));
    let (_lens, seq_lens) = upload(gpu, &seq_lens)?;
    let (_starts, cu_seqlens) = upload(gpu, &cu_seqlens)?;
    let starts: Vec<u32> = (0..batch).map(|seq| (seq * blocks_per_seq) as u32).collect();
    let (_table_starts, table_starts) = upload(gpu, &starts)?;
    let (_tables, block_tables) = upload(gpu, &tables)?;
    let (_tiles, tiles): (Buffer, Span<PrefillTile>) = upload(gpu, &plan.tiles)?;
    let (_decode, listed) = upload(gpu, &plan.decode_seqs)?;
    let decode = if count == 1 { DecodeSeqs::All } else { DecodeSeqs::Listed(listed) };
    let meta = AttentionMeta { seq_lens, cu_seqlens, table_starts, block_tables, num_tokens, decode, tiles };
    let queries = Buffer::new(&gpu.device, 2 * num_tokens * spec.q_size(), "bench")?;
    let (_planes, out) = outputs(gpu, num_tokens, shape.num_heads * shape.value_dim)?;
    let us = bench.time_us(num_layers.max(24), |i| {
        let (queries, cache) = (queries.all(), cache.layer(i % num_layers));
        let inputs =
            AttentionInputs { attention: &spec, queries, cache, meta, sinks: None, rows: None, out: Some(out) };
        op.run(&gpu.device, &workspace, &inputs)
    })?;
    let name = format!("{} {}, {batch} x {context}", layer.name, kv_type.name());
    if count == 1 {
        let visible = context.min(layer.window.unwrap_or(context));
        bench.report_bytes("attention decode", &name, us, layer_bytes * visible / context);
    } else {
        let pairs: usize = (1..=context).map(|seen| seen.min(layer.window.unwrap_or(seen))).sum();
        bench.report_flops(
            "attention prefill",
            &name,
            us,
            (2 * pairs * shape.num_heads * (shape.head_dim + shape.value_dim)) as f64,
        );
    }
    Ok(())
}

/// The inputs of the output matrix as int8 blocks, the form decode steps use.
fn outputs(gpu: &Gpu, tokens: usize, cols: usize) -> Result<(Buffer, ActOut), CudaError> {
    let padded = ActQ8::padded_cols(cols);
    let (bytes, blocks) = (tokens * padded, tokens * padded / 32);
    let buffer = Buffer::new(&gpu.device, bytes + 8 * blocks, "bench")?;
    let planes = ActPlanes {
        q: buffer.span(0, bytes),
        d: buffer.span(bytes, blocks),
        s: buffer.span(bytes + 4 * blocks, blocks),
    };
    let out = ActOut::q8(ActQ8::new(planes, tokens, cols)?, tokens);
    Ok((buffer, out))
}

/// A buffer with this content.
pub(crate) fn upload<T: Plain>(gpu: &Gpu, data: &[T]) -> Result<(Buffer, Span<T>), CudaError> {
    let buffer = Buffer::new(&gpu.device, size_of_val(data), "bench")?;
    let span = buffer.span(0, data.len());
    gpu.device.upload(span, data)?;
    Ok((buffer, span))
}
