//! Prefill and decode speed of a model on this machine, beside the memory bandwidth measured in the same minute.
//!
//! Usage: `cargo run --release -p cpu --example speed -- MODEL.gguf [prompt tokens] [decode tokens] [threads] [isa]`

use std::{
    error::Error,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cpu::{CpuExecutor, CpuOptions, Isa};
use exec::{Executor, SampleSpec, SeqStep, StepPlan, Wanted};
use gguf::Gguf;
use types::{BLOCK_SIZE, SamplingParams, SeqId, TokenId};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let path = args.first().ok_or("usage: speed MODEL.gguf [prompt tokens] [decode tokens] [threads] [isa]")?;
    let number = |idx: usize, default: usize| args.get(idx).map_or(Ok(default), |arg| arg.parse());
    let (num_prompt, num_decode) = (number(1, 128)?, number(2, 32)?);
    let isa = Isa::available().into_iter().rev().find(|isa| args.get(4).is_none_or(|name| isa.name() == name));
    let gguf = Arc::new(Gguf::open(Path::new(path))?);
    let num_tokens = num_prompt + num_decode + 1;
    let options = CpuOptions {
        num_threads: number(3, 0)?,
        num_blocks: num_tokens.div_ceil(BLOCK_SIZE),
        max_num_batched_tokens: num_tokens,
        max_model_len: num_tokens,
        isa: isa.ok_or("no such instruction set here")?,
        ..CpuOptions::default()
    };
    let mut bench = Bench { executor: CpuExecutor::new(Arc::clone(&gguf), options)?, num_computed: 0, num_tokens };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}, {}", bench.executor.spec().name, bench.executor.description())?;
    let num_threads = if options.num_threads == 0 { num_cpus() } else { options.num_threads };
    let bandwidth = read_bandwidth(num_threads);
    writeln!(out, "read bandwidth of {num_threads} threads: {bandwidth:.1} GB/s")?;
    // The first step maps the file's pages.
    bench.step(1)?;
    bench.num_computed = 0;
    let prefill = bench.step(num_prompt)?;
    writeln!(out, "prefill: {num_prompt} tokens, {:.1} tok/s", num_prompt as f64 / prefill.as_secs_f64())?;
    let times = (0..num_decode).map(|_| bench.step(1)).collect::<Result<Vec<_>, _>>()?;
    let mean = times.iter().sum::<Duration>().as_secs_f64() / num_decode as f64;
    let best = times.iter().min().map_or(mean, Duration::as_secs_f64);
    for (what, seconds) in [("mean", mean), ("best", best)] {
        let speed = gguf.weight_bytes() as f64 / seconds / 1e9;
        let share = 100.0 * speed / bandwidth;
        writeln!(out, "decode, {what}: {:.2} tok/s, {speed:.2} GB/s, {share:.0} % of the bandwidth", 1.0 / seconds)?;
    }
    Ok(())
}

fn num_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Bench {
    executor: CpuExecutor,
    num_computed: usize,
    num_tokens: usize,
}

impl Bench {
    /// One step over the next tokens.
    fn step(&mut self, num_tokens: usize) -> Result<Duration, exec::ExecError> {
        let start = Instant::now();
        let end = self.num_computed + num_tokens;
        let params = Arc::new(SamplingParams::greedy());
        let tables = self.executor.capacity().pools.equal_tables((0, 1), self.num_tokens, num_tokens);
        let seq = SeqStep {
            seq_id: SeqId(1),
            tokens: (self.num_computed..end).map(|i| TokenId((i * 7 % 256) as u32)).collect(),
            num_computed_tokens: self.num_computed,
            block_tables: Arc::new(tables.ok_or(exec::ExecError::InvalidPlan("too few KV blocks".to_owned()))?),
            wanted: Wanted::Token(SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: false }),
        };
        let ticket = self.executor.launch(StepPlan { seqs: vec![seq], finished: Vec::new() })?;
        self.executor.collect(ticket)?;
        self.num_computed = end;
        Ok(start.elapsed())
    }
}

/// GB/s of all threads together reading memory that no cache holds; the best of three passes.
fn read_bandwidth(num_threads: usize) -> f64 {
    const NUM_WORDS: usize = 512 << 17;
    let memory = vec![1_u64; NUM_WORDS];
    let pass = || {
        let start = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts = memory.chunks(NUM_WORDS.div_ceil(num_threads));
            let threads: Vec<_> = parts.map(|part| scope.spawn(|| part.iter().sum::<u64>())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        assert_eq!(sum, NUM_WORDS as u64, "the sum of all words read");
        (NUM_WORDS * 8) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..3).map(|_| pass()).fold(0.0, f64::max)
}
