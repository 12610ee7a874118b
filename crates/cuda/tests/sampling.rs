//! Tokens chosen on the device against `crates/sampling`: the same logits, parameters and draw, the same token.

use std::sync::Arc;

use cuda::{
    device::{Buffer, Graph, Span},
    gpu::Gpu,
    ops::sampling::{LogitChange, SampleParams, SampleResult, Sampling, SamplingCall},
};
use exec::{SampleSpec, SampledToken};
use sampling::Sampler;
use types::{SamplingParams, TokenId};

use crate::support::{Random, gpu, upload};

/// A batch on the device, and what it should give.
struct Case {
    vocab: usize,
    stride: usize,
    logits: Vec<f32>,
    specs: Vec<SampleSpec>,
}

impl Case {
    /// `row(i, random)` gives the logits of row `i`.
    fn new(vocab: usize, specs: Vec<SampleSpec>, mut row: impl FnMut(usize) -> Vec<f32>) -> Self {
        // Odd vocabularies without padding: rows that are not aligned.
        let stride = if vocab.is_multiple_of(2) { vocab.next_multiple_of(4) } else { vocab };
        let mut logits = Vec::new();
        for i in 0..specs.len() {
            logits.extend(row(i));
            // Whatever lies between the rows must not count.
            logits.resize((i + 1) * stride, f32::INFINITY);
        }
        Self { vocab, stride, logits, specs }
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.logits[i * self.stride..][..self.vocab]
    }

    fn run(&self, gpu: &Gpu) -> (Vec<SampleParams>, Vec<SampledToken>) {
        let rows = self.specs.len();
        let op = Sampling::new(gpu, rows, self.vocab).expect("kernels and memory");
        let inputs = Inputs::new(gpu, &self.specs, self.vocab);
        let (_logits, logits) = upload(gpu, &self.logits);
        gpu.device.fill_bytes(op.results(rows), 0xff).expect("the fill works");
        gpu.device.fill_bytes(op.next_ids(), 0xff).expect("the fill works");
        op.run(&gpu.device, &inputs.call(logits, self.stride, None)).expect("the launches work");
        let results: Vec<SampleResult> = gpu.device.download(op.results(rows)).expect("the copy works");
        let next_ids: Vec<u32> = gpu.device.download(op.next_ids()).expect("the copy works");
        let tokens: Vec<_> = results.iter().map(SampleResult::token).collect();
        for (token, next_id) in tokens.iter().zip(next_ids) {
            assert_eq!(token.token_id.0, next_id, "both places name the same token");
        }
        (inputs.rows, tokens)
    }

    /// Runs the batch and compares every row; gives how many rows differ by no more than a rounding can explain.
    fn check(&self, gpu: &Gpu, what: &str) -> usize {
        let (rows, tokens) = self.run(gpu);
        let mut sampler = Sampler::new();
        let mut num_near = 0;
        for (i, ((spec, found), params)) in self.specs.iter().zip(&tokens).zip(&rows).enumerate() {
            let what = format!("{what}, vocab {}, row {i}, {spec:?}", self.vocab);
            if params.needs_host() {
                assert_eq!(found.token_id.0, u32::MAX, "{what}: the device left the row to the host");
                continue;
            }
            let choose = |sampler: &mut Sampler, params: &SamplingParams, uniform: f64| {
                sampler.choose(self.row(i), params, &spec.recent_tokens, uniform)
            };
            let expected = choose(&mut sampler, &spec.params, spec.uniform);
            if found.token_id != expected {
                let near = neighbours(spec).into_iter().any(|(p, u)| choose(&mut sampler, &p, u) == found.token_id);
                assert!(near, "{what}: token {}, expected {expected}", found.token_id);
                num_near += 1;
            }
            self.check_logprobs(&mut sampler, i, found, &what);
        }
        num_near
    }

    fn check_logprobs(&self, sampler: &mut Sampler, i: usize, found: &SampledToken, what: &str) {
        let Some(num_logprobs) = self.specs[i].params.num_logprobs else {
            assert!(found.logprob.is_nan() && found.top_logprobs.is_empty(), "{what}: {found:?}");
            return;
        };
        let expected = sampler.logprobs(self.row(i), found.token_id, num_logprobs as usize);
        let close = |a: f32, b: f32| a == b || (a - b).abs() <= 2e-5;
        assert!(
            close(found.logprob, expected.chosen),
            "{what}: logprob {}, expected {}",
            found.logprob,
            expected.chosen
        );
        assert_eq!(found.top_logprobs.len(), expected.top.len(), "{what}");
        for (found, expected) in found.top_logprobs.iter().zip(&expected.top) {
            assert!(
                found.0 == expected.0 && close(found.1, expected.1),
                "{what}: top {found:?}, expected {expected:?}"
            );
        }
    }
}

/// Parameters on the device.
struct Inputs {
    rows: Vec<SampleParams>,
    params: Span<SampleParams>,
    changes: Span<LogitChange>,
    _buffers: [Buffer; 2],
}

impl Inputs {
    fn new(gpu: &Gpu, specs: &[SampleSpec], vocab: usize) -> Self {
        let mut changes = Vec::new();
        let rows: Vec<_> = specs.iter().map(|spec| SampleParams::new(spec, vocab, &mut changes)).collect();
        let (params_buffer, params) = upload(gpu, &rows);
        let (changes_buffer, changes) = upload(gpu, &changes);
        Self { rows, params, changes, _buffers: [params_buffer, changes_buffer] }
    }

    fn call(&self, logits: Span<f32>, stride: usize, softcap: Option<f32>) -> SamplingCall {
        SamplingCall { logits, stride, params: self.params, changes: self.changes, softcap }
    }
}

/// The same choice with thresholds moved by a few roundings of f32.
fn neighbours(spec: &SampleSpec) -> Vec<(SamplingParams, f64)> {
    let params = &*spec.params;
    let mut near = vec![];
    for factor in [1.0 - 3e-6, 1.0 + 3e-6] {
        near.push((params.clone(), spec.uniform * factor));
        near.push((
            SamplingParams { top_p: (f64::from(params.top_p) * factor) as f32, ..params.clone() },
            spec.uniform,
        ));
    }
    near
}

fn spec(params: SamplingParams, uniform: f64) -> SampleSpec {
    SampleSpec { params: Arc::new(params), uniform, recent_tokens: Vec::new(), want_logits: false }
}

fn uniform(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len())]
}

/// Parameters of all kinds that the device does.
fn random_spec(random: &mut Random, vocab: usize) -> SampleSpec {
    let some_tokens = |random: &mut Random, count: usize| -> Vec<TokenId> {
        (0..count).map(|_| TokenId(random.below(vocab + 2) as u32)).collect()
    };
    let num_biased = pick(random, &[0, 0, 1, 7, 40]);
    let mut biased = some_tokens(random, num_biased);
    biased.sort_unstable();
    biased.dedup();
    let num_recent = pick(random, &[0, 3, 64, 64, 700]);
    let params = SamplingParams {
        temperature: pick(random, &[0.0, 0.1, 0.8, 0.8, 1.0, 1.7]),
        top_k: pick(random, &[1, 2, 40, 40, 40, 100, 333, 1024]),
        top_p: pick(random, &[0.0, 0.3, 0.95, 0.95, 1.0]),
        min_p: pick(random, &[0.0, 0.05, 0.05, 0.5, 1.5]),
        repeat_penalty: pick(random, &[1.0, 1.0, 1.1, 1.5]),
        repeat_last_n: pick(random, &[0, 64, 64, 2000]),
        frequency_penalty: pick(random, &[0.0, 0.0, 0.4, -0.3]),
        presence_penalty: pick(random, &[0.0, 0.0, 0.6]),
        logit_bias: biased.into_iter().map(|id| (id, pick(random, &[f32::NEG_INFINITY, -2.0, 3.0, 30.0]))).collect(),
        min_keep: pick(random, &[0, 0, 1, 5]),
        seed: 0,
        num_logprobs: pick(random, &[None, None, Some(0), Some(5), Some(20)]),
    };
    let recent_tokens = some_tokens(random, num_recent);
    SampleSpec { recent_tokens, ..spec(params, uniform(random)) }
}

/// Logits like those of a model: a broad bump with a few high ones.
fn model_row(random: &mut Random, vocab: usize) -> Vec<f32> {
    let mut row: Vec<f32> = (0..vocab).map(|_| (random.signed() + random.signed() + random.signed()) * 4.0).collect();
    for i in 0..30.min(vocab) {
        row[random.below(vocab)] = 20.0 - i as f32 * 0.4 + random.signed();
    }
    row
}

#[test]
fn random_batches_match_the_specification() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(1);
    let (mut num_near, mut num_rows) = (0, 0);
    for (vocab, rows) in [(1, 3), (5, 40), (32, 64), (33, 20), (1000, 64), (4097, 64), (32_000, 64), (32_001, 33)] {
        let specs: Vec<_> = (0..rows).map(|_| random_spec(&mut random, vocab)).collect();
        num_near += Case::new(vocab, specs, |_| model_row(&mut random, vocab)).check(gpu, "random");
        num_rows += rows;
    }
    for (vocab, rows) in [(128_256, 64), (151_936, 1), (262_144, 9), (262_145, 2)] {
        let specs: Vec<_> = (0..rows).map(|_| random_spec(&mut random, vocab)).collect();
        num_near += Case::new(vocab, specs, |_| model_row(&mut random, vocab)).check(gpu, "random");
        num_rows += rows;
    }
    assert!(num_near * 100 <= num_rows, "{num_near} of {num_rows} rows needed the excuse of a rounding");
}

#[test]
fn hard_rows_match_the_specification() {
    let Some(gpu) = gpu() else { return };
    let mut random = Random::new(2);
    const INF: f32 = f32::INFINITY;
    for vocab in [32, 1001, 5000, 70_000] {
        let steps: Vec<f32> = (0..vocab).map(|_| random.below(4) as f32).collect();
        let mut holes = model_row(&mut random, vocab);
        holes.iter_mut().step_by(3).for_each(|x| *x = f32::NAN);
        let mut infinite = model_row(&mut random, vocab);
        infinite[vocab / 2] = INF;
        let mut twice = infinite.clone();
        twice[vocab - 1] = INF;
        let mut lonely = vec![-INF; vocab];
        lonely[vocab - 2] = -7.0;
        let mut zeros = vec![-0.0; vocab];
        zeros.iter_mut().step_by(2).for_each(|x| *x = 0.0);
        let huge = random.floats(vocab, 3e38);
        let rows = [
            steps,
            holes,
            infinite,
            twice,
            lonely,
            zeros,
            huge,
            vec![1.5; vocab],
            vec![-INF; vocab],
            vec![f32::NAN; vocab],
            (0..vocab).map(|i| i as f32 * 1e-3).collect(),
            (0..vocab).map(|i| i as f32 * -1e-3).collect(),
        ];
        for row in rows {
            let specs: Vec<_> = (0..8).map(|_| random_spec(&mut random, vocab)).collect();
            let what = format!("{:?}...", &row[..4]);
            let num_near = Case::new(vocab, specs, |_| row.clone()).check(gpu, &what);
            assert!(num_near <= 1, "{what}: {num_near} of 8 rows needed the excuse of a rounding");
        }
    }
}

#[test]
fn every_draw_of_a_distribution_can_come_out() {
    let Some(gpu) = gpu() else { return };
    let params = SamplingParams { temperature: 1.0, top_k: 8, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() };
    let specs: Vec<_> = (0..256).map(|i| spec(params.clone(), f64::from(i) / 256.0)).collect();
    let case = Case::new(2000, specs, |_| (0..2000).map(|i| -((i as f32) - 1000.0).abs() * 0.1).collect());
    assert_eq!(case.check(gpu, "draws"), 0);
    let (_, tokens) = case.run(gpu);
    let mut ids: Vec<u32> = tokens.iter().map(|token| token.token_id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, [996, 997, 998, 999, 1000, 1001, 1002, 1003]);
}

#[test]
fn padding_and_rows_of_the_host_are_left_alone() {
    let Some(gpu) = gpu() else { return };
    let op = Sampling::new(gpu, 4, 100).expect("kernels and memory");
    let host = spec(SamplingParams { top_k: 0, ..SamplingParams::default() }, 0.5);
    let mut inputs = Inputs::new(gpu, &[host.clone(), spec(SamplingParams::greedy(), 0.5), host.clone(), host], 100);
    inputs.rows[2] = SampleParams::PADDING;
    gpu.device.upload(inputs.params, &inputs.rows).expect("the copy works");
    let (_logits, logits) = upload(gpu, &(0..400).map(|i| i as f32).collect::<Vec<_>>());
    gpu.device.fill_bytes(op.next_ids(), 0xff).expect("the fill works");
    op.run(&gpu.device, &inputs.call(logits, 100, Some(50.0))).expect("the launches work");
    assert_eq!(gpu.device.download(op.next_ids()).expect("the copy works"), [u32::MAX, 99, u32::MAX, u32::MAX]);
    // The softcap is for every row but padding.
    let capped = gpu.device.download(logits).expect("the copy works");
    for (i, found) in capped.iter().enumerate() {
        let exact = if (200..300).contains(&i) { i as f64 } else { 50.0 * (i as f64 / 50.0).tanh() };
        assert!((f64::from(*found) - exact).abs() <= 1e-6 * exact, "logit {i}: {found}, expected {exact}");
    }
}

#[test]
fn a_captured_call_follows_its_parameters_and_repeats_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    const VOCAB: usize = 50_000;
    let mut random = Random::new(3);
    let op = Sampling::new(gpu, 5, VOCAB).expect("kernels and memory");
    let rows: Vec<Vec<f32>> = (0..5).map(|_| model_row(&mut random, VOCAB)).collect();
    let (_logits, logits) = upload(gpu, &rows.concat());
    let specs = |random: &mut Random| -> Vec<_> {
        (0..5).map(|_| SampleSpec { recent_tokens: Vec::new(), ..random_spec(random, VOCAB) }).collect()
    };
    let room = spec(
        SamplingParams { logit_bias: (0..500).map(|i| (TokenId(i), 0.0)).collect(), ..SamplingParams::default() },
        0.0,
    );
    let inputs = Inputs::new(gpu, &[room.clone(), room.clone(), room.clone(), room.clone(), room], VOCAB);
    let graph =
        Graph::capture(&gpu.device, || op.run(&gpu.device, &inputs.call(logits, VOCAB, None))).expect("a graph");
    for _ in 0..5 {
        let specs = specs(&mut random);
        let mut changes = Vec::new();
        let params: Vec<_> = specs.iter().map(|spec| SampleParams::new(spec, VOCAB, &mut changes)).collect();
        gpu.device.upload(inputs.params, &params).expect("the copy works");
        gpu.device.upload(inputs.changes.slice(0..changes.len()), &changes).expect("the copy works");
        let mut bytes = Vec::new();
        for _ in 0..2 {
            gpu.device.fill_bytes(op.results(5), 0).expect("the fill works");
            graph.launch().expect("the graph runs");
            bytes.push(gpu.device.download(op.results(5).cast::<u32>()).expect("the copy works"));
        }
        assert_eq!(bytes[0], bytes[1]);
        let results = gpu.device.download(op.results(5)).expect("the copy works");
        let mut sampler = Sampler::new();
        for ((spec, row), result) in specs.iter().zip(&rows).zip(&results) {
            let expected = sampler.choose(row, &spec.params, &[], spec.uniform);
            assert_eq!(result.token().token_id, expected, "{spec:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    assert!(Sampling::new(gpu, 1, 0).is_err());
    assert!(Sampling::new(gpu, 1, 10_000_000).is_err());
    let op = Sampling::new(gpu, 2, 100).expect("kernels and memory");
    let greedy = spec(SamplingParams::greedy(), 0.5);
    let inputs = Inputs::new(gpu, &[greedy.clone(), greedy.clone()], 100);
    let (_logits, logits) = upload(gpu, &[0.0_f32; 200]);
    let fits = inputs.call(logits, 100, None);
    assert!(op.run(&gpu.device, &fits).is_ok());
    let three = Inputs::new(gpu, &[greedy.clone(), greedy.clone(), greedy], 100);
    for call in [
        SamplingCall { stride: 99, ..fits },
        SamplingCall { stride: 101, ..fits },
        SamplingCall { logits: logits.slice(0..199), ..fits },
        SamplingCall { params: three.params, ..fits },
    ] {
        assert!(op.run(&gpu.device, &call).is_err(), "{call:?}");
    }
}
