//! Attention over paged keys and values: causal or not, grouped heads, with an optional window, softcap and sinks.
//!
//! A task takes one KV head of one sequence for a tile of its tokens. It walks the blocks once, keeping for each query
//! the running maximum, the sum of exponentials and the weighted values ("online softmax"); a block's keys are read
//! once for all queries. What a query gets depends on its position and blocks alone, not on the tile.

use model::{Attention, Mask};
use quant::{Activations, Isa, Kernel, LANES, Lanes, as_floats, as_floats_mut, dot_floats};
use types::BLOCK_SIZE;

use super::{Compute, Scratch};
use crate::{
    batch::Batch,
    disjoint::Disjoint,
    kv_cache::LayerCache,
    math::{exp, softcap},
};

/// Tokens of a tile at most.
const TILE_TOKENS: usize = 16;

/// The queries of a task and what they have gathered so far. Row `token * group + i` is head `i` of the group.
#[derive(Default)]
pub(crate) struct Tile {
    /// `[rows, head_lanes]`, scaled.
    queries: Vec<Lanes>,
    /// `[rows, head_lanes]`: values weighted with `exp(score - max)`.
    sums: Vec<Lanes>,
    rows: Vec<Row>,
}

/// The state of a query.
#[derive(Clone)]
struct Row {
    /// The largest score so far.
    max: f32,
    /// The sum of `exp(score - max)`.
    weight: f32,
    /// Its scores with the current block.
    scores: [f32; BLOCK_SIZE],
    /// The offsets of the current block that it sees.
    visible: std::ops::Range<usize>,
}

/// One KV head of some tokens of a sequence.
struct Task {
    seq_idx: usize,
    kv_head: usize,
    /// In the batch.
    tokens: std::ops::Range<usize>,
}

/// Attends the queries, `[num_tokens, num_heads, head_dim]`, to the cache, which holds the step's own keys already. `sinks`
/// are scores that take part in each head's softmax without a value, `[num_heads]` or none.
pub(crate) fn attention(
    compute: &mut Compute,
    (spec, sinks): (&Attention, &[f32]),
    (batch, cache): (&Batch, &LayerCache),
    queries: &[f32],
    out: &mut Activations,
) {
    let gathered = spec.gathered_dim();
    out.resize(batch.num_tokens(), spec.num_heads * gathered);
    let (isa, stride) = (compute.isa, out.stride());
    let tasks = tasks(batch, spec.num_kv_heads);
    let out = Disjoint::new(out.floats_mut());
    compute.pool.run(tasks.len(), |task, scratch| {
        let task = &tasks[task];
        let head_lanes = cache.keys.head_lanes();
        scratch.attention.start((spec, sinks), task, (batch, queries));
        scratch.attend(isa, spec, task, (batch, cache));
        let group = spec.num_heads / spec.num_kv_heads;
        for (idx, sums) in scratch.attention.sums.chunks_exact(head_lanes).enumerate() {
            let (token, head) = (task.tokens.start + idx / group, task.kv_head * group + idx % group);
            let start = token * stride + head * gathered;
            // SAFETY: each token and head belongs to one row of one task.
            let out = unsafe { out.slice(start..start + gathered) };
            let inverse = 1.0 / scratch.attention.rows[idx].weight;
            out.iter_mut().zip(as_floats(sums)).for_each(|(out, sum)| *out = sum * inverse);
        }
    });
}

/// The long tiles first, so that no thread starts one when the others are done.
fn tasks(batch: &Batch, num_kv_heads: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    for seq_idx in 0..batch.num_seqs() {
        let (start, end) = (batch.cu_seqlens[seq_idx], batch.cu_seqlens[seq_idx + 1]);
        for first in (start..end).step_by(TILE_TOKENS).rev() {
            let tokens = first..(first + TILE_TOKENS).min(end);
            tasks.extend((0..num_kv_heads).map(|kv_head| Task { seq_idx, kv_head, tokens: tokens.clone() }));
        }
    }
    tasks
}

impl Tile {
    /// Takes in a task's queries.
    fn start(&mut self, (spec, sinks): (&Attention, &[f32]), task: &Task, (batch, queries): (&Batch, &[f32])) {
        let group = spec.num_heads / spec.num_kv_heads;
        let (num_rows, head_lanes) = (task.tokens.len() * group, spec.head_dim.div_ceil(LANES));
        let row = Row { max: f32::NEG_INFINITY, weight: 0.0, scores: [0.0; BLOCK_SIZE], visible: 0..0 };
        for lanes in [&mut self.queries, &mut self.sums] {
            lanes.clear();
            lanes.resize(num_rows * head_lanes, Lanes::default());
        }
        self.rows.clear();
        self.rows.resize(num_rows, row);
        for (idx, lanes) in self.queries.chunks_exact_mut(head_lanes).enumerate() {
            let (token, head) = (task.tokens.start + idx / group, task.kv_head * group + idx % group);
            let query = &queries[(token * spec.num_heads + head) * spec.head_dim..][..spec.head_dim];
            let temperature = spec.temperature.map_or(1.0, |temperature| temperature.at(batch.positions[token]));
            let scale = spec.scale * temperature;
            as_floats_mut(lanes).iter_mut().zip(query).for_each(|(out, x)| *out = x * scale);
            if let Some(&sink) = sinks.get(head) {
                (self.rows[idx].max, self.rows[idx].weight) = (sink, 1.0);
            }
        }
    }
}

impl Scratch {
    /// Walks the blocks of a task's sequence.
    fn attend(&mut self, isa: Isa, spec: &Attention, task: &Task, (batch, cache): (&Batch, &LayerCache)) {
        let (tile, head_lanes) = (&mut self.attention, cache.keys.head_lanes());
        let group = spec.num_heads / spec.num_kv_heads;
        let visible = |token: usize| {
            let end = batch.positions[token] as usize + 1;
            // Of an encoder the step has all tokens of the sequence.
            let len = batch.cu_seqlens[task.seq_idx + 1] - batch.cu_seqlens[task.seq_idx];
            match spec.mask {
                Mask::Full => 0..end,
                Mask::Bidirectional => 0..len,
                Mask::Symmetric { reach } => (end - 1).saturating_sub(reach)..end.saturating_add(reach).min(len),
                Mask::Sliding { window } => end.saturating_sub(window)..end,
                Mask::Chunked { chunk } => (end - 1) / chunk * chunk..end,
            }
        };
        let first_block = visible(task.tokens.start).start / BLOCK_SIZE;
        let last_block = (visible(task.tokens.end - 1).end - 1) / BLOCK_SIZE;
        let pool = &batch.pools[cache.pool_idx];
        let table = &pool.block_tables[pool.cu_blocks[task.seq_idx]..pool.cu_blocks[task.seq_idx + 1]];
        for (block_idx, &block) in table.iter().enumerate().take(last_block + 1).skip(first_block) {
            let keys = cache.keys.read(isa, block as usize, task.kv_head, &mut self.kv_block);
            let rows = &mut tile.rows;
            dot_floats(isa, head_lanes, (keys, &tile.queries), |slot, row, score| rows[row].scores[slot] = score);
            for (idx, row) in rows.iter_mut().enumerate() {
                let seen = visible(task.tokens.start + idx / group);
                let offset = |position: usize| position.saturating_sub(block_idx * BLOCK_SIZE).min(BLOCK_SIZE);
                row.visible = offset(seen.start)..offset(seen.end);
            }
            let values = cache.values().read(isa, block as usize, task.kv_head, &mut self.kv_block);
            isa.run(Gather { rows, sums: &mut tile.sums, values, cap: spec.softcap });
        }
    }
}

/// Turns a block's scores into weights and adds its weighted values.
struct Gather<'a> {
    rows: &'a mut [Row],
    sums: &'a mut [Lanes],
    values: &'a [Lanes],
    cap: Option<f32>,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let head_lanes = self.values.len() / BLOCK_SIZE;
        for (row, sums) in self.rows.iter_mut().zip(self.sums.chunks_exact_mut(head_lanes)) {
            if row.visible.is_empty() {
                continue;
            }
            if let Some(cap) = self.cap {
                row.scores.iter_mut().for_each(|score| *score = softcap(*score, cap));
            }
            let fade = row.weigh();
            for (lane, sums) in sums.iter_mut().enumerate() {
                let mut sum = sums.0.map(|x| x * fade);
                // Values out of sight may be anything, even NaN, so they are not multiplied by zero but left out.
                for slot in row.visible.clone() {
                    let value = &self.values[slot * head_lanes + lane];
                    for (sum, value) in sum.iter_mut().zip(&value.0) {
                        *sum = row.scores[slot].mul_add(*value, *sum);
                    }
                }
                sums.0 = sum;
            }
        }
    }
}

impl Row {
    /// Makes weights `exp(score - max)` of the scores; returns what the earlier sums are to be multiplied by.
    #[inline(always)]
    fn weigh(&mut self) -> f32 {
        let mut max = self.max;
        for (slot, score) in self.scores.iter_mut().enumerate() {
            if !self.visible.contains(&slot) {
                *score = f32::NEG_INFINITY;
            }
            max = if *score > max { *score } else { max };
        }
        let fade = exp(self.max - max);
        for score in &mut self.scores {
            *score = exp(*score - max);
        }
        self.weight = self.weight.mul_add(fade, self.scores.iter().sum::<f32>());
        self.max = max;
        fade
    }
}
