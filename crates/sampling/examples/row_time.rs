//! Time to sample one row of a large vocabulary, stage by stage.
//!
//! Usage: `cargo run --release -p sampling --example row_time -- [vocabulary size]`

use std::{error::Error, hint::black_box, io::Write, time::Instant};

use sampling::{Mt19937, Sampler};
use types::{SamplingParams, TokenId};

fn main() -> Result<(), Box<dyn Error>> {
    let vocab_size = std::env::args().nth(1).map_or(Ok(262_144), |arg| arg.parse())?;
    let mut generator = Mt19937::new(1);
    // The sum of twelve uniform numbers is nearly normal; logits of a language model have such a spread.
    let logits: Vec<f32> =
        (0..vocab_size).map(|_| 2.4 * ((0..12).map(|_| generator.uniform()).sum::<f64>() - 6.0) as f32).collect();
    let recent: Vec<_> = (0..64).map(TokenId).collect();
    let default = SamplingParams::default();
    let cases = [
        ("greedy", SamplingParams::greedy()),
        ("default", default.clone()),
        ("default, penalties", SamplingParams { repeat_penalty: 1.1, ..default.clone() }),
        ("top-p of all", SamplingParams { top_k: 0, ..default.clone() }),
        ("min-p of all", SamplingParams { top_k: 0, top_p: 1.0, ..default.clone() }),
        ("no cut", SamplingParams { top_k: 0, top_p: 1.0, min_p: 0.0, ..default }),
    ];
    let mut out = std::io::stdout().lock();
    let mut sampler = Sampler::new();
    writeln!(out, "{vocab_size} logits, best of 20")?;
    for (name, params) in cases {
        let time = best_time(|| {
            black_box(sampler.choose(black_box(&logits), &params, &recent, generator.uniform()));
        });
        writeln!(out, "{name:>20} {time:>8.1} us")?;
    }
    let time = best_time(|| {
        black_box(sampler.logprobs(black_box(&logits), TokenId(7), 20));
    });
    writeln!(out, "{:>20} {time:>8.1} us", "logprobs")?;
    Ok(())
}

/// Microseconds, the best of twenty.
fn best_time(mut work: impl FnMut()) -> f64 {
    let times = (0..20).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e6
    });
    times.fold(f64::INFINITY, f64::min)
}
