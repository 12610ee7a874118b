//! Tokens for a whole batch: both launches.

use std::sync::Arc;

use cuda::{
    CudaError,
    device::{Buffer, Span},
    ops::sampling::{SampleParams, Sampling, SamplingCall},
};
use exec::SampleSpec;
use types::{SamplingParams, TokenId};

use crate::support::Bench;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    let penalized = SamplingParams { repeat_penalty: 1.1, ..SamplingParams::default() };
    let with_logprobs = SamplingParams { num_logprobs: Some(5), ..SamplingParams::default() };
    let kinds = [
        ("greedy", SamplingParams::greedy()),
        ("top-k 40", SamplingParams::default()),
        ("top-k 40, 64 penalized", penalized),
        ("top-k 40, 5 logprobs", with_logprobs),
        ("top-k 1024", SamplingParams { top_k: 1024, ..SamplingParams::default() }),
    ];
    for vocab in [32_000, 128_256, 262_144] {
        for rows in [1, 8, 64] {
            let logits = random_logits(bench, rows, vocab)?;
            for (name, params) in &kinds {
                let us = case(bench, params, rows, vocab, logits.all())?;
                let shape = format!("{name}: {rows} x {vocab}");
                bench.report_bytes("sampling", &shape, us, 4 * rows * vocab);
            }
        }
    }
    Ok(())
}

/// Rows as a model leaves them: sums of uniform numbers, so that few are high.
fn random_logits(bench: &Bench, rows: usize, vocab: usize) -> Result<Buffer, CudaError> {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let logits: Vec<f32> = (0..rows * vocab).map(|_| (random() + random() + random() + random() - 2.0) * 8.0).collect();
    let buffer = Buffer::new(&bench.gpu.device, 4 * logits.len(), "bench")?;
    bench.gpu.device.upload(buffer.all(), &logits)?;
    Ok(buffer)
}

fn case(
    bench: &Bench,
    params: &SamplingParams,
    rows: usize,
    vocab: usize,
    logits: Span<f32>,
) -> Result<f64, CudaError> {
    let device = &bench.gpu.device;
    let op = Sampling::new(&bench.gpu, rows, vocab)?;
    let mut changes = Vec::new();
    let row = |i: usize| SampleSpec {
        params: Arc::new(params.clone()),
        uniform: (i as f64 + 0.5) / rows as f64,
        recent_tokens: (0..64).map(|token| TokenId(token * 37 + i as u32)).collect(),
        want_logits: false,
    };
    let host: Vec<_> = (0..rows).map(|i| SampleParams::new(&row(i), vocab, &mut changes)).collect();
    let params = Buffer::new(device, size_of_val(host.as_slice()), "bench")?;
    let list = Buffer::new(device, size_of_val(changes.as_slice()), "bench")?;
    device.upload(params.all(), &host)?;
    device.upload(list.all(), &changes)?;
    // The output matrix has just written the logits: what fits the second-level cache is there in a real step too.
    let call = SamplingCall { logits, stride: vocab, params: params.all(), changes: list.all(), softcap: None };
    bench.time_us(20, |_| op.run(device, &call))
}
