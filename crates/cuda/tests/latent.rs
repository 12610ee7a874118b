//! Attention over latents: queries and keys as they are made, and what is gathered, against f64.

use cuda::{
    KvType,
    device::Span,
    gpu::Gpu,
    kv_cache::{KvCache, KvLayout},
    ops::{
        attention::{
            Attention, AttentionInputs, AttentionMeta, AttentionPlan, AttentionWorkspace, DecodeSeqs, HeadShape,
            PrefillTile, tile_tokens,
        },
        rope::{RopeLatent, RopeLatentInputs},
    },
};
use model::{Latent, Rope, RopeStyle};
use quant::{f16_to_f32, f32_to_f16};

use crate::{
    paged::{BLOCK, LAYER, round, spec},
    support::{Random, assert_close, gpu, poisoned, upload},
};

const NUM_BLOCKS: usize = 9;
/// The blocks of the one sequence.
const TABLE: [u32; 5] = [7, 2, 8, 0, 5];
const EPS: f32 = 1e-6;

/// Sizes of a layer.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    num_heads: usize,
    kv_rank: usize,
    nope_dim: usize,
    rope_dim: usize,
}

impl Sizes {
    fn key(self) -> usize {
        self.kv_rank + self.rope_dim
    }

    fn attention(self, style: RopeStyle) -> model::Attention {
        let Self { num_heads, kv_rank, nope_dim, rope_dim } = self;
        let mut rope = Rope::new(style, rope_dim, 1e4);
        rope.magnitude = 1.1;
        let latent = Some(Latent { q_rank: None, kv_rank, nope_dim, value_dim: 16 });
        model::Attention { latent, ..model::Attention::plain(num_heads, 1, self.key(), rope) }
    }
}

fn rotated(x: &[f32], position: usize, rope: &Rope) -> Vec<f64> {
    let mut out: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for (i, freq) in rope.inv_freqs(None).iter().enumerate() {
        let (sin, cos) = f64::from(position as f32 * freq).sin_cos();
        let (a, b) = match rope.style {
            RopeStyle::Norm => (2 * i, 2 * i + 1),
            RopeStyle::Neox => (i, i + rope.dim / 2),
        };
        let magnitude = f64::from(rope.magnitude);
        (out[a], out[b]) = (magnitude * (out[a] * cos - out[b] * sin), magnitude * (out[a] * sin + out[b] * cos));
    }
    out
}

fn narrowed(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| f16_to_f32(f32_to_f16(*x as f32))).collect()
}

/// A prompt of so many tokens: queries and keys, then what attention gathers.
fn check(gpu: &Gpu, sizes: Sizes, style: RopeStyle, kv_type: KvType) {
    let Sizes { num_heads, kv_rank, nope_dim, rope_dim } = sizes;
    let (attention, tokens) = (sizes.attention(style), 67);
    let what = format!("{sizes:?}, {style:?}, {}", kv_type.name());
    let layout = KvLayout::new(&spec(&attention), kv_type).expect("sizes for the cache");
    let cache = KvCache::new(&gpu.device, layout, types::KvPools::full(NUM_BLOCKS)).expect("room for the cache");
    gpu.device.fill_bytes(cache.bytes(), 0xff).expect("the fill works");
    let mut random = Random::new((num_heads + kv_rank) as u64);
    let q_dim = nope_dim + rope_dim;
    let absorbed = random.floats(tokens * num_heads * kv_rank, 2.0);
    let q_rows = random.floats(tokens * num_heads * q_dim, 2.0);
    let (kv, norm) = (random.floats(tokens * sizes.key(), 2.0), random.floats(kv_rank, 1.0));
    let slots: Vec<u32> = (0..tokens).map(|i| TABLE[i / BLOCK] * BLOCK as u32 + (i % BLOCK) as u32).collect();
    let positions: Vec<u32> = (0..tokens as u32).collect();
    let (_absorbed, absorbed_in) = upload(gpu, &absorbed);
    let (_q_rows, q_rows_in) = upload(gpu, &q_rows);
    let (_kv, kv_in) = upload(gpu, &kv);
    let (_norm, norm_in) = upload(gpu, &norm);
    let (_freqs, inv_freqs) = upload(gpu, &attention.rope.inv_freqs(None));
    let (_positions, positions_in) = upload(gpu, &positions);
    let (_slots, slot_mapping) = upload(gpu, &slots);
    let (_queries, queries) = poisoned::<u16>(gpu, tokens * num_heads * sizes.key());
    let inputs = RopeLatentInputs {
        attention: &attention,
        norm_eps: EPS,
        absorbed: absorbed_in,
        q_rows: q_rows_in,
        kv: kv_in,
        norm: norm_in,
        inv_freqs,
        positions: positions_in,
        slot_mapping,
        queries,
        cache: cache.layer(LAYER),
    };
    RopeLatent::new(gpu).and_then(|op| op.run(&gpu.device, &inputs)).expect("a launch");
    let (mut all_queries, mut all_keys) = (Vec::new(), Vec::new());
    for token in 0..tokens {
        for head in 0..num_heads {
            let pair = token * num_heads + head;
            let part = absorbed[pair * kv_rank..][..kv_rank].iter().map(|x| f64::from(*x));
            let turned = rotated(&q_rows[pair * q_dim + nope_dim..][..rope_dim], token, &attention.rope);
            all_queries.extend(part.chain(turned).map(|x| x * f64::from(attention.scale)));
        }
        let (latent, turned) = kv[token * sizes.key()..][..sizes.key()].split_at(kv_rank);
        let square = latent.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / kv_rank as f64;
        let inverse = 1.0 / (square + f64::from(EPS)).sqrt();
        all_keys.extend(latent.iter().zip(&norm).map(|(x, w)| f64::from(*x) * inverse * f64::from(*w)));
        all_keys.extend(rotated(turned, token, &attention.rope));
    }
    let found: Vec<f32> = gpu.device.download(queries).expect("a copy").into_iter().map(f16_to_f32).collect();
    assert_close(&what, &found, &all_queries, 1e-6, 1.0 / 2000.0);
    let mut keys: Vec<f32> = all_keys.iter().map(|x| *x as f32).collect();
    round(&mut keys, kv_type);
    let gathered = gather(gpu, &attention, &cache, (queries, tokens, tokens));
    // Aligned as a step's are.
    let bits = gpu.device.download(queries).expect("a copy");
    let (_alone, alone) = upload(gpu, &bits[(tokens - 1) * num_heads * sizes.key()..]);
    let last = gather(gpu, &attention, &cache, (alone, 1, tokens));
    let queries = narrowed(&all_queries);
    let expected = attended(sizes, &queries, &keys);
    // Where a value lies between two f16 (or steps of q8_0) the device may have taken the other one.
    let atol = if kv_type == KvType::F16 { 4e-3 } else { 3e-2 };
    assert_close(&what, &gathered, &expected, atol, 0.0);
    assert_close(&format!("{what}, decoded"), &last, &expected[expected.len() - last.len()..], atol, 0.0);
}

/// What the queries of a prompt gather from its keys.
fn attended(sizes: Sizes, queries: &[f32], keys: &[f32]) -> Vec<f64> {
    let mut expected = Vec::new();
    for (token, queries) in queries.chunks(sizes.num_heads * sizes.key()).enumerate() {
        for query in queries.chunks(sizes.key()) {
            let dot = |key: &[f32]| key.iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>();
            let seen = || keys.chunks(sizes.key()).take(token + 1);
            let weights: Vec<f64> = seen().map(|key| dot(key).exp()).collect();
            let sum: f64 = weights.iter().sum();
            expected.extend(
                (0..sizes.kv_rank)
                    .map(|i| seen().zip(&weights).map(|(key, weight)| weight / sum * f64::from(key[i])).sum::<f64>()),
            );
        }
    }
    expected
}

/// What attention gathers for the last tokens of one sequence of so many.
fn gather(
    gpu: &Gpu,
    attention: &model::Attention,
    cache: &KvCache,
    (queries, tokens, len): (Span<u16>, usize, usize),
) -> Vec<f32> {
    let shape = HeadShape::of(attention);
    let mut plan = AttentionPlan::default();
    plan.fill(&[0, tokens as u32], &[len as u32], tile_tokens(shape.group_size()));
    let (_lens, seq_lens) = upload(gpu, &[len as u32]);
    let (_starts, cu_seqlens) = upload(gpu, &[0, tokens as u32]);
    let (_table_starts, table_starts) = upload(gpu, &[0_u32]);
    let (_tables, block_tables) = upload(gpu, &TABLE);
    let (_tiles, tiles): (_, Span<PrefillTile>) = upload(gpu, &plan.tiles);
    let (_decode, listed) = upload(gpu, &plan.decode_seqs);
    let (_rows, rows) = poisoned::<f32>(gpu, tokens * shape.num_heads * shape.value_dim);
    let (num_tokens, decode) = (tokens, DecodeSeqs::Listed(listed));
    let meta = AttentionMeta { seq_lens, cu_seqlens, table_starts, block_tables, num_tokens, decode, tiles };
    let cache = cache.layer(LAYER);
    let inputs = AttentionInputs { attention, queries, cache, meta, sinks: None, rows: Some(rows), out: None };
    let workspace = AttentionWorkspace::new(&gpu.device, &[shape], 1).expect("room");
    let op = Attention::new(gpu, shape, cache.kv_type).expect("kernels for the heads");
    op.run(&gpu.device, &workspace, &inputs).expect("a launch");
    gpu.device.download(rows).expect("a copy")
}

#[test]
fn latents_are_gathered() {
    let Some(gpu) = gpu() else { return };
    for sizes in [
        Sizes { num_heads: 16, kv_rank: 512, nope_dim: 128, rope_dim: 64 },
        Sizes { num_heads: 3, kv_rank: 96, nope_dim: 20, rope_dim: 32 },
    ] {
        for (style, kv_type) in [(RopeStyle::Norm, KvType::F16), (RopeStyle::Neox, KvType::Q8_0)] {
            check(gpu, sizes, style, kv_type);
        }
    }
    check(gpu, Sizes { num_heads: 5, kv_rank: 20, nope_dim: 12, rope_dim: 6 }, RopeStyle::Neox, KvType::F16);
}

#[test]
fn latents_that_do_not_fit_are_refused() {
    let Some(gpu) = gpu() else { return };
    let attention = Sizes { num_heads: 2, kv_rank: 1024, nope_dim: 64, rope_dim: 64 }.attention(RopeStyle::Norm);
    let error = Attention::new(gpu, HeadShape::of(&attention), KvType::F16).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("1088"), "{error}");
    assert!(KvLayout::new(&spec(&attention), KvType::F16).unwrap_err().to_string().contains("layer 0"));
}
