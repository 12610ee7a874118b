//! Attention of decoded sequences and prompt chunks over a scattered cache, against f64.

use cuda::{
    CudaError, KvType,
    device::{Graph, Span},
    gpu::Gpu,
    ops::{
        act_out::ActOut,
        attention::{
            Attention, AttentionInputs, AttentionMeta, AttentionPlan, AttentionWorkspace, DecodeSeqs, HeadShape,
            PrefillTile, tile_tokens,
        },
    },
};
use model::Mask;
use quant::{f16_to_f32, f32_to_f16};

use crate::{
    act_rows::{ActRows, Wanted},
    paged::{LAYER, Paged, plain_attention},
    support::{Random, gpu, poisoned, upload},
};

/// Weights are f16, up to 2^-11 of themselves off, and values are below 1; sums are f32.
const ATOL_F16: f64 = 7e-4;
/// Keys and values of q8_0 become f16 on their way into the product: twice the same, and a shift of the scores.
const ATOL_Q8: f64 = 3e-3;

/// What differs between layers beside the heads of the cache.
#[derive(Clone, Copy, Debug)]
struct Variant {
    group: usize,
    mask: Mask,
    softcap: Option<f32>,
    sinks: bool,
}

const fn group(group: usize) -> Variant {
    Variant { group, mask: Mask::Full, softcap: None, sinks: false }
}

/// A step over a cache: of sequence `s` the last `counts[s]` tokens are queries. Sequences in `padding` have length 0.
struct Step<'a> {
    gpu: &'a Gpu,
    paged: &'a Paged,
    spec: model::Attention,
    counts: &'a [usize],
    padding: &'a [usize],
    /// `[num_tokens][q_size]`, f16.
    queries: Vec<u16>,
}

impl<'a> Step<'a> {
    fn new(gpu: &'a Gpu, paged: &'a Paged, variant: Variant, counts: &'a [usize]) -> Self {
        let mut spec = plain_attention(paged.num_kv_heads * variant.group, paged.num_kv_heads, paged.head_dim);
        spec.softcap = variant.softcap;
        spec.mask = variant.mask;
        spec.sinks = variant.sinks;
        // Scores with a spread of about 2.
        let scale = 6.0 / (paged.head_dim as f32).sqrt();
        let len = counts.iter().sum::<usize>() * spec.q_size();
        let queries = Random::new(len as u64 + 1).floats(len, scale).into_iter().map(f32_to_f16).collect();
        Self { gpu, paged, spec, counts, padding: &[], queries }
    }

    /// Scores without values: some count for nothing, some for nearly everything.
    fn sinks(&self) -> Vec<f32> {
        (0..self.spec.num_heads).map(|head| head as f32 * 3.7 % 17.0 - 6.0).collect()
    }

    fn num_tokens(&self) -> usize {
        self.counts.iter().sum()
    }

    fn cu_seqlens(&self) -> Vec<u32> {
        let ends = self.counts.iter().scan(0, |end, &n| {
            *end += n as u32;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }

    fn seq_lens(&self) -> Vec<u32> {
        let len = |(seq, &len): (usize, &usize)| if self.padding.contains(&seq) { 0 } else { len as u32 };
        self.paged.lens.iter().enumerate().map(len).collect()
    }

    /// Runs the production launcher; f32 rows, NaN where nothing was written.
    fn run(&self, seqs: Seqs, out: Option<ActOut>) -> Vec<f32> {
        self.try_run(seqs, out).expect("a launch")
    }

    fn try_run(&self, seqs: Seqs, out: Option<ActOut>) -> Result<Vec<f32>, CudaError> {
        let Self { gpu, paged, spec, .. } = self;
        let shape = HeadShape::of(spec);
        let op = Attention::new(gpu, shape, paged.kv_type).expect("kernels for the heads");
        let workspace = AttentionWorkspace::new(&gpu.device, &[shape], self.counts.len() + 3).expect("room");
        let mut plan = AttentionPlan::default();
        plan.fill(&self.cu_seqlens(), &self.seq_lens(), tile_tokens(shape.group_size()));
        // Lists end with padding, as in a captured step.
        plan.decode_seqs.push(u32::MAX);
        if !plan.tiles.is_empty() {
            plan.tiles.push(PrefillTile::default());
        }
        let (_lens, seq_lens) = upload(gpu, &self.seq_lens());
        let (_starts, cu_seqlens) = upload(gpu, &self.cu_seqlens());
        let (_table_starts, table_starts) = upload(gpu, &paged.table_starts());
        let (_tables, block_tables) = upload(gpu, &paged.tables);
        let (_decode, listed) = upload(gpu, &plan.decode_seqs);
        let (_tiles, tiles) = upload(gpu, &plan.tiles);
        let (_queries, queries) = upload(gpu, &self.queries);
        let (_rows, rows) = poisoned::<f32>(gpu, self.num_tokens() * spec.q_size());
        let (_sinks, sinks) = upload(gpu, &self.sinks());
        let decode = match seqs {
            Seqs::All => DecodeSeqs::All,
            Seqs::Planned => DecodeSeqs::Listed(listed),
        };
        let num_tokens = self.num_tokens();
        let meta = AttentionMeta { seq_lens, cu_seqlens, table_starts, block_tables, num_tokens, decode, tiles };
        let cache = paged.cache.layer(LAYER);
        let inputs = AttentionInputs {
            attention: spec,
            queries,
            cache,
            meta,
            sinks: spec.sinks.then_some(sinks),
            rows: Some(rows),
            out,
        };
        let mut last: Option<Vec<u32>> = None;
        // Three runs, one after the other: the counters between splits are left as they were found.
        for _ in 0..3 {
            gpu.device.fill_bytes(rows, 0xff).expect("the fill works");
            op.run(&gpu.device, &workspace, &inputs)?;
            let bits = gpu.device.download(rows.cast::<u32>()).expect("the copy works");
            assert!(last.is_none_or(|last| last == bits), "{spec:?}: a rerun differs");
            last = Some(bits);
        }
        Ok(last.into_iter().flatten().map(f32::from_bits).collect())
    }

    /// Runs and compares every element.
    fn check(&self, seqs: Seqs) -> Vec<f32> {
        let found = self.run(seqs, None);
        let expected = self.expected();
        let atol = if self.paged.kv_type == KvType::F16 { ATOL_F16 } else { ATOL_Q8 };
        let width = self.spec.q_size();
        for (seq, bounds) in self.cu_seqlens().windows(2).enumerate() {
            for i in bounds[0] as usize * width..bounds[1] as usize * width {
                let (a, b) = (found[i], expected[i]);
                let good = if b.is_nan() { a.is_nan() } else { (f64::from(a) - b).abs() <= atol };
                let (len, count) = (self.paged.lens[seq], self.counts[seq]);
                assert!(
                    good,
                    "{:?}, sequence {seq} of length {len}, {count} queries, token {}, head {}, dim {}: {a}, expected {b}",
                    self.spec,
                    i / width - bounds[0] as usize,
                    i % width / self.spec.head_dim,
                    i % self.spec.head_dim
                );
            }
        }
        found
    }

    /// `[num_tokens][q_size]`; NaN for padding.
    fn expected(&self) -> Vec<f64> {
        let width = self.spec.q_size();
        let mut expected = vec![f64::NAN; self.num_tokens() * width];
        let mut places = Vec::new();
        for (seq, &count) in self.counts.iter().enumerate() {
            places.extend((0..count).map(|i| (seq, self.paged.lens[seq] - count + i)));
        }
        let mut rows: Vec<_> = places.into_iter().zip(expected.chunks_mut(width)).enumerate().collect();
        let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = rows.len().div_ceil(num_threads).max(1);
        std::thread::scope(|scope| {
            for rows in rows.chunks_mut(share) {
                scope.spawn(move || {
                    for (token, ((seq, position), out)) in rows {
                        if !self.padding.contains(seq) {
                            self.attend(*token, (*seq, *position), out);
                        }
                    }
                });
            }
        });
        expected
    }

    fn attend(&self, token: usize, (seq, position): (usize, usize), out: &mut [f64]) {
        let (spec, width) = (&self.spec, self.spec.kv_size());
        let first = match spec.mask {
            Mask::Full | Mask::Bidirectional => 0,
            Mask::Symmetric { reach } => position.saturating_sub(reach),
            Mask::Sliding { window } => (position + 1).saturating_sub(window),
            Mask::Chunked { chunk } => position / chunk * chunk,
        };
        let end = match spec.mask {
            Mask::Bidirectional => self.paged.lens[seq],
            Mask::Symmetric { reach } => self.paged.lens[seq].min(position + 1 + reach),
            Mask::Full | Mask::Sliding { .. } | Mask::Chunked { .. } => position + 1,
        };
        for (head, out) in out.chunks_mut(spec.head_dim).enumerate() {
            let query = &self.queries[token * spec.q_size() + head * spec.head_dim..][..spec.head_dim];
            let query: Vec<f64> = query.iter().map(|&q| f64::from(f16_to_f32(q))).collect();
            let at = |i: usize| i * width + head / (spec.num_heads / spec.num_kv_heads) * spec.head_dim;
            let mut scores: Vec<f64> = (first..end)
                .map(|i| {
                    let key = &self.paged.keys[seq][at(i)..][..spec.head_dim];
                    let score: f64 = key.iter().zip(&query).map(|(k, q)| f64::from(*k) * q).sum();
                    spec.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                })
                .collect();
            let sink = if spec.sinks { f64::from(self.sinks()[head]) } else { f64::NEG_INFINITY };
            let largest = scores.iter().fold(sink, |max, &s| max.max(s));
            scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let sum = scores.iter().sum::<f64>() + (sink - largest).exp();
            out.fill(0.0);
            for (i, score) in (first..end).zip(&scores) {
                let value = &self.paged.values[seq][at(i)..][..spec.head_dim];
                out.iter_mut().zip(value).for_each(|(out, v)| *out += score / sum * f64::from(*v));
            }
        }
    }
}

/// How the launch says which sequences have one query token.
#[derive(Clone, Copy)]
enum Seqs {
    All,
    Planned,
}

const LENS: [usize; 10] = [1, 2, 15, 16, 17, 31, 33, 100, 513, 2000];

#[test]
fn decode_serves_every_group_and_head_size() {
    let Some(gpu) = gpu() else { return };
    for (head_dim, groups) in [
        (64, &[1, 2, 3, 4, 5, 7, 8, 16][..]),
        (80, &[1, 4]),
        (96, &[3, 8]),
        (128, &[1, 2, 3, 4, 5, 7, 8, 16]),
        (256, &[1, 4, 9]),
    ] {
        let paged = Paged::new(gpu, (2, head_dim), KvType::F16, &LENS);
        for &size in groups {
            Step::new(gpu, &paged, group(size), &[1; LENS.len()]).check(Seqs::All);
        }
    }
}

#[test]
fn decode_reads_q8_0() {
    let Some(gpu) = gpu() else { return };
    for head_dim in [32, 64, 96, 128, 256, 512] {
        let paged = Paged::new(gpu, (2, head_dim), KvType::Q8_0, &LENS);
        for size in [1, 4, 7] {
            Step::new(gpu, &paged, group(size), &[1; LENS.len()]).check(Seqs::All);
        }
    }
}

#[test]
fn decode_sees_windows_and_caps_scores() {
    let Some(gpu) = gpu() else { return };
    for (head_dim, kv_type) in [
        (16, KvType::F16),
        (64, KvType::F16),
        (256, KvType::F16),
        (512, KvType::F16),
        (128, KvType::Q8_0),
        (512, KvType::Q8_0),
    ] {
        let paged = Paged::new(gpu, (1, head_dim), kv_type, &LENS);
        for window in [1, 5, 16, 17, 100, 512, 5000] {
            let mask = Mask::Sliding { window };
            let variant = Variant { mask, softcap: (window % 2 == 1).then_some(3.0), ..group(4) };
            Step::new(gpu, &paged, variant, &[1; LENS.len()]).check(Seqs::All);
        }
        let variant = Variant { softcap: Some(50.0), ..group(2) };
        Step::new(gpu, &paged, variant, &[1; LENS.len()]).check(Seqs::All);
    }
}

#[test]
fn a_single_sequence_is_split_finely() {
    let Some(gpu) = gpu() else { return };
    for (len, kv_heads) in [(1, 2), (65, 2), (100, 8), (513, 2), (4100, 2), (513, 8), (9000, 4), (20_000, 4)] {
        let paged = Paged::new(gpu, (kv_heads, 128), KvType::F16, &[len]);
        Step::new(gpu, &paged, group(4), &[1]).check(Seqs::All);
    }
}

#[test]
fn large_batches_join_splits_in_memory() {
    let Some(gpu) = gpu() else { return };
    // More sequences than clusters find room for; some are much longer than the others.
    let lens: Vec<usize> = (0..75).map(|i| if i % 25 == 3 { 3000 + i } else { 1 + i * 7 % 300 }).collect();
    for (head_dim, kv_type, size) in [
        (64, KvType::F16, 4),
        (128, KvType::F16, 5),
        (128, KvType::Q8_0, 4),
        (256, KvType::F16, 2),
        (512, KvType::F16, 9),
    ] {
        let paged = Paged::new(gpu, (2, head_dim), kv_type, &lens);
        Step::new(gpu, &paged, group(size), &[1; 75]).check(Seqs::All);
    }
}

#[test]
fn padding_is_left_alone() {
    let Some(gpu) = gpu() else { return };
    for head_dim in [20, 64, 512] {
        let paged = Paged::new(gpu, (2, head_dim), KvType::F16, &[40, 16, 600, 33]);
        for (counts, seqs) in [([1; 4], Seqs::All), ([1; 4], Seqs::Planned), ([5, 7, 1, 33], Seqs::Planned)] {
            let mut step = Step::new(gpu, &paged, group(2), &counts);
            step.padding = &[1, 3];
            let found = step.check(seqs);
            assert!(found[..step.spec.q_size()].iter().all(|x| x.is_finite()));
        }
    }
}

/// Offsets and chunk lengths of one mixed step.
const CHUNKS: [(usize, usize); 14] = [
    (0, 1),
    (0, 2),
    (0, 17),
    (0, 130),
    (1, 16),
    (1, 3),
    (15, 1),
    (15, 64),
    (16, 63),
    (16, 5),
    (17, 65),
    (300, 130),
    (300, 1),
    (300, 7),
];

fn chunks() -> (Vec<usize>, Vec<usize>) {
    CHUNKS.iter().map(|(offset, count)| (offset + count, *count)).unzip()
}

#[test]
fn chunks_and_decodes_mix() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for (head_dim, groups) in
        [(64, &[1, 2, 7, 16][..]), (80, &[1, 3]), (96, &[5]), (128, &[1, 4, 8, 17]), (256, &[1, 4])]
    {
        let paged = Paged::new(gpu, (2, head_dim), KvType::F16, &lens);
        for &size in groups {
            Step::new(gpu, &paged, group(size), &counts).check(Seqs::Planned);
        }
    }
}

#[test]
fn chunks_read_q8_0() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for head_dim in [32, 64, 96, 128, 256, 512] {
        let paged = Paged::new(gpu, (1, head_dim), KvType::Q8_0, &lens);
        Step::new(gpu, &paged, group(3), &counts).check(Seqs::Planned);
    }
}

#[test]
fn chunks_see_windows_and_cap_scores() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for (head_dim, kv_type) in [
        (8, KvType::F16),
        (64, KvType::F16),
        (256, KvType::F16),
        (512, KvType::F16),
        (128, KvType::Q8_0),
        (512, KvType::Q8_0),
    ] {
        let paged = Paged::new(gpu, (1, head_dim), kv_type, &lens);
        for window in [1, 5, 16, 17, 100] {
            let mask = Mask::Sliding { window };
            let variant = Variant { mask, softcap: (window % 2 == 1).then_some(3.0), ..group(4) };
            Step::new(gpu, &paged, variant, &counts).check(Seqs::Planned);
        }
    }
}

#[test]
fn sinks_take_part_in_every_softmax() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for (head_dim, kv_type, size) in [
        (64, KvType::F16, 8),
        (64, KvType::Q8_0, 8),
        (128, KvType::F16, 3),
        (256, KvType::F16, 2),
        (16, KvType::F16, 5),
        (96, KvType::Q8_0, 17),
    ] {
        for mask in [Mask::Full, Mask::Sliding { window: 128 }] {
            let variant = Variant { mask, sinks: true, ..group(size) };
            let paged = Paged::new(gpu, (2, head_dim), kv_type, &lens);
            Step::new(gpu, &paged, variant, &counts).check(Seqs::Planned);
            let paged = Paged::new(gpu, (2, head_dim), kv_type, &LENS);
            Step::new(gpu, &paged, variant, &[1; LENS.len()]).check(Seqs::All);
        }
        // Many splits in a cluster, and in memory.
        let paged = Paged::new(gpu, (2, head_dim), kv_type, &[4100]);
        Step::new(gpu, &paged, Variant { sinks: true, ..group(size) }, &[1]).check(Seqs::All);
        let lens: Vec<usize> = (0..40).map(|i| 1 + i * 41).collect();
        let paged = Paged::new(gpu, (2, head_dim), kv_type, &lens);
        Step::new(gpu, &paged, Variant { sinks: true, ..group(size) }, &[1; 40]).check(Seqs::All);
    }
}

#[test]
fn chunked_masks_begin_at_multiples() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for (head_dim, kv_type) in [(8, KvType::F16), (64, KvType::F16), (512, KvType::F16), (128, KvType::Q8_0)] {
        for chunk in [1, 5, 16, 40, 512] {
            let variant = Variant { mask: Mask::Chunked { chunk }, ..group(4) };
            let paged = Paged::new(gpu, (1, head_dim), kv_type, &lens);
            Step::new(gpu, &paged, variant, &counts).check(Seqs::Planned);
            let paged = Paged::new(gpu, (1, head_dim), kv_type, &LENS);
            Step::new(gpu, &paged, variant, &[1; LENS.len()]).check(Seqs::All);
        }
    }
}

/// Encoders: a step has all tokens of its sequences.
#[test]
fn all_tokens_see_each_other() {
    let Some(gpu) = gpu() else { return };
    let lens = [1, 2, 15, 16, 17, 63, 64, 65, 130, 300];
    for (head_dim, kv_type, size) in [
        (64, KvType::F16, 1),
        (64, KvType::F16, 3),
        (80, KvType::F16, 1),
        (96, KvType::F16, 2),
        (128, KvType::F16, 4),
        (256, KvType::F16, 1),
        (512, KvType::F16, 2),
        (16, KvType::F16, 1),
        (32, KvType::F16, 2),
        (64, KvType::Q8_0, 1),
        (128, KvType::Q8_0, 2),
        (32, KvType::Q8_0, 1),
    ] {
        let paged = Paged::new(gpu, (2, head_dim), kv_type, &lens);
        for mask in [Mask::Bidirectional, Mask::Symmetric { reach: 24 }, Mask::Symmetric { reach: 256 }] {
            Step::new(gpu, &paged, Variant { mask, ..group(size) }, &lens).check(Seqs::Planned);
        }
    }
}

#[test]
fn every_other_even_head_size_is_right() {
    let Some(gpu) = gpu() else { return };
    let (lens, counts) = chunks();
    for head_dim in [2, 8, 16, 20, 32, 50, 160, 250, 320, 512] {
        let paged = Paged::new(gpu, (2, head_dim), KvType::F16, &lens);
        Step::new(gpu, &paged, group(3), &counts).check(Seqs::Planned);
        let paged = Paged::new(gpu, (2, head_dim), KvType::F16, &LENS);
        Step::new(gpu, &paged, group(2), &[1; LENS.len()]).check(Seqs::All);
    }
}

#[test]
fn results_leave_as_inputs_of_the_next_matrix() {
    let Some(gpu) = gpu() else { return };
    let lens = [5, 40, 700, 90];
    for (head_dim, kv_heads, wanted) in [
        (32, 2, Wanted::Both),
        (64, 3, Wanted::Int8),
        (96, 1, Wanted::Both),
        (128, 2, Wanted::Both),
        (256, 1, Wanted::Int8),
        (512, 1, Wanted::Both),
        (80, 1, Wanted::Half),
        (8, 2, Wanted::Half),
    ] {
        let paged = Paged::new(gpu, (kv_heads, head_dim), KvType::F16, &lens);
        for counts in [[1, 1, 1, 1], [5, 33, 1, 2]] {
            let step = Step::new(gpu, &paged, group(3), &counts);
            let out = ActRows::new(gpu, wanted, step.num_tokens(), step.spec.q_size());
            let rows = step.run(Seqs::Planned, Some(out.out()));
            let rows: Vec<f64> = rows.into_iter().map(f64::from).collect();
            out.check(gpu, &format!("{:?}", step.spec), &rows, 1e-6);
        }
    }
}

#[test]
fn a_captured_step_serves_any_length() {
    let Some(gpu) = gpu() else { return };
    let (paged, counts) = (Paged::new(gpu, (2, 128), KvType::F16, &[2000, 300]), [1, 1]);
    let step = Step::new(gpu, &paged, group(4), &counts);
    let shape = HeadShape::of(&step.spec);
    let op = Attention::new(gpu, shape, KvType::F16).expect("kernels for the heads");
    let workspace = AttentionWorkspace::new(&gpu.device, &[shape], 2).expect("room");
    let (_lens, seq_lens) = upload(gpu, &[1_u32, 1]);
    let (_starts, cu_seqlens) = upload(gpu, &step.cu_seqlens());
    let (_table_starts, table_starts) = upload(gpu, &paged.table_starts());
    let (_tables, block_tables) = upload(gpu, &paged.tables);
    let (_queries, queries) = upload(gpu, &step.queries);
    let (_rows, rows) = poisoned::<f32>(gpu, 2 * step.spec.q_size());
    let (_tiles, tiles): (_, Span<PrefillTile>) = upload(gpu, &[]);
    let decode = DecodeSeqs::All;
    let meta = AttentionMeta { seq_lens, cu_seqlens, table_starts, block_tables, num_tokens: 2, decode, tiles };
    let cache = paged.cache.layer(LAYER);
    let inputs =
        AttentionInputs { attention: &step.spec, queries, cache, meta, sinks: None, rows: Some(rows), out: None };
    let graph = Graph::capture(&gpu.device, || op.run(&gpu.device, &workspace, &inputs)).expect("a capture");
    for lens in [[1_u32, 1], [2000, 300], [17, 0], [513, 2], [2000, 300]] {
        gpu.device.upload(seq_lens, &lens).expect("the copy works");
        graph.launch().expect("a launch");
        let found = gpu.device.download(rows).expect("the copy works");
        for (seq, &len) in lens.iter().enumerate().filter(|(_, len)| **len > 0) {
            let width = step.spec.q_size();
            let mut expected = vec![0.0; width];
            step.attend(seq, (seq, len as usize - 1), &mut expected);
            let found = &found[seq * width..][..width];
            let error = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error <= ATOL_F16, "lengths {lens:?}, sequence {seq}: off by {error}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let error = |shape, kv_type| Attention::new(gpu, shape, kv_type).map(|_| ()).unwrap_err().to_string();
    let shape =
        |num_heads, num_kv_heads, head_dim| HeadShape { num_heads, num_kv_heads, head_dim, value_dim: head_dim };
    assert!(error(shape(4, 2, 80), KvType::Q8_0).contains("use the KV cache type f16"));
    assert!(error(shape(4, 2, 514), KvType::F16).contains("514"));
    assert!(error(shape(4, 3, 64), KvType::F16).contains("4 query heads over 3 KV heads"));
    let paged = Paged::new(gpu, (1, 16), KvType::F16, &[3]);
    let step = Step::new(gpu, &paged, group(2), &[1]);
    let out = ActRows::new(gpu, Wanted::Int8, 1, step.spec.q_size());
    let error = step.try_run(Seqs::All, Some(out.out())).unwrap_err().to_string();
    assert!(error.contains("int8 results of heads of 16"), "{error}");
}
