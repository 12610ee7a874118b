//! Times an executor: no engine, no scheduler, just steps.

use std::{fmt, sync::Arc, time::Instant};

use anyhow::Context;
use exec::{Capacity, Executor, SampleSpec, SeqOutput, SeqStep, StepPlan};
use types::{BLOCK_SIZE, BlockId, SamplingParams, SeqId, TokenId};

use crate::device::Wanted;

/// One thing to measure.
#[derive(Clone, Copy)]
pub(crate) enum Case {
    /// A prompt of so many tokens, in chunks as large as the executor takes.
    Prompt { num_tokens: usize },
    /// So many steps of a batch whose sequences hold `context` tokens at first.
    Generate { batch: usize, num_tokens: usize, context: usize },
    /// The same through the engine, with so many steps in flight.
    Serve { batch: usize, num_tokens: usize, context: usize, steps_in_flight: usize },
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt { num_tokens } => write!(f, "prompt {num_tokens}"),
            Self::Generate { batch, num_tokens, context } => {
                write!(f, "generate {num_tokens}, batch {batch}, context {context}")
            }
            Self::Serve { batch, num_tokens, context, steps_in_flight } => {
                write!(f, "serve {num_tokens}, batch {batch}, context {context}, {steps_in_flight} in flight")
            }
        }
    }
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) case: Case,
    pub(crate) num_tokens: usize,
    pub(crate) num_steps: usize,
    /// Tokens whose keys and values were read, summed over steps.
    pub(crate) num_kv_tokens: usize,
    /// Median time of one run.
    pub(crate) seconds: f64,
    /// Of the last logits, or of all tokens where the engine chose them: changes when the numerics do.
    pub(crate) hash: u64,
}

impl Measured {
    pub(crate) fn tokens_per_second(&self) -> f64 {
        self.num_tokens as f64 / self.seconds
    }
}

/// What the cases together ask of an executor.
pub(crate) fn wanted(cases: &[Case], ubatch_size: usize) -> Wanted {
    let size = |case: &Case| match *case {
        Case::Prompt { num_tokens } => (1, num_tokens + 1),
        Case::Generate { batch, num_tokens, context } | Case::Serve { batch, num_tokens, context, .. } => {
            (batch, context + num_tokens + 1)
        }
    };
    let sizes = || cases.iter().map(size);
    let num_seqs = sizes().map(|(seqs, _)| seqs).max().unwrap_or(1);
    let blocks = sizes().map(|(seqs, tokens)| seqs * tokens.div_ceil(BLOCK_SIZE)).max().unwrap_or(1);
    Wanted {
        num_seqs,
        num_batched_tokens: ubatch_size.max(num_seqs),
        num_tokens: Some(blocks * BLOCK_SIZE),
        seq_tokens: sizes().map(|(_, tokens)| tokens).max(),
    }
}

/// Runs a case `repeat` times after a warm-up.
pub(crate) fn run(executor: &mut dyn Executor, case: Case, repeat: u8) -> anyhow::Result<Measured> {
    median(repeat, || once(executor, case)).with_context(|| format!("in `{case}`"))
}

/// The median of `repeat` runs after a warm-up.
pub(crate) fn median(repeat: u8, mut once: impl FnMut() -> anyhow::Result<Measured>) -> anyhow::Result<Measured> {
    let mut runs = Vec::new();
    for i in 0..=repeat {
        let measured = once()?;
        if i > 0 {
            runs.push(measured);
        }
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// The token of a sequence at a position. Any do: a multiplicative hash gives a sequence without a pattern.
pub(crate) fn token_at(seq_idx: usize, position: usize, vocab_size: usize) -> TokenId {
    TokenId(((position * 7 + seq_idx + 1).wrapping_mul(2_654_435_761) >> 8) as u32 % vocab_size as u32)
}

fn once(executor: &mut dyn Executor, case: Case) -> anyhow::Result<Measured> {
    let (batch, context, num_generated) = match case {
        Case::Prompt { num_tokens } => (1, num_tokens, 0),
        Case::Generate { batch, num_tokens, context } | Case::Serve { batch, num_tokens, context, .. } => {
            (batch, context, num_tokens)
        }
    };
    let mut bench = Bench::new(executor, batch, context + num_generated + 1)?;
    let started = Instant::now();
    let mut num_steps = bench.prefill(context)?;
    let mut seconds = started.elapsed().as_secs_f64();
    let (mut num_tokens, mut num_kv_tokens) = (context, 0);
    if num_generated > 0 {
        let started = Instant::now();
        for _ in 0..num_generated {
            num_kv_tokens += batch * bench.num_computed;
            bench.step(1, false)?;
        }
        seconds = started.elapsed().as_secs_f64();
        (num_tokens, num_steps) = (num_generated * batch, num_generated);
    }
    let hash = bench.finish()?;
    Ok(Measured { case, num_tokens, num_steps, num_kv_tokens, seconds, hash })
}

/// A batch of equal sequences with blocks of their own.
struct Bench<'a> {
    executor: &'a mut dyn Executor,
    capacity: Capacity,
    /// Tokens of each sequence in a step at most.
    chunk: usize,
    /// Of each sequence.
    block_tables: Vec<Arc<Vec<Vec<BlockId>>>>,
    num_computed: usize,
    params: Arc<SamplingParams>,
}

impl<'a> Bench<'a> {
    fn new(executor: &'a mut dyn Executor, batch: usize, seq_tokens: usize) -> anyhow::Result<Self> {
        let capacity = executor.capacity();
        anyhow::ensure!(batch <= capacity.max_num_seqs, "batch {batch} is over the limit {}", capacity.max_num_seqs);
        let chunk = (capacity.max_num_batched_tokens / batch).clamp(1, seq_tokens);
        let tables = |s: usize| capacity.pools.equal_tables((s, batch), seq_tokens, chunk).map(Arc::new);
        let block_tables: Option<Vec<_>> = (0..batch).map(tables).collect();
        let block_tables = block_tables
            .with_context(|| format!("{:?} are too few for {batch} of {seq_tokens} tokens", capacity.pools))?;
        let params = Arc::new(SamplingParams::greedy());
        Ok(Self { executor, capacity, block_tables, chunk, num_computed: 0, params })
    }

    /// Computes `num_tokens` of every sequence; returns the number of steps.
    fn prefill(&mut self, num_tokens: usize) -> anyhow::Result<usize> {
        let mut num_steps = 0;
        while self.num_computed < num_tokens {
            self.step(self.chunk.min(num_tokens - self.num_computed), false)?;
            num_steps += 1;
        }
        Ok(num_steps)
    }

    /// Computes the next `num_tokens` of every sequence.
    fn step(&mut self, num_tokens: usize, want_logits: bool) -> anyhow::Result<Vec<SeqOutput>> {
        let seqs = (0..self.block_tables.len()).map(|i| self.seq_step(i, num_tokens, want_logits)).collect();
        let ticket = self.executor.launch(StepPlan { seqs, finished: Vec::new() })?;
        let output = self.executor.collect(ticket)?;
        self.num_computed += num_tokens;
        Ok(output.seqs)
    }

    fn seq_step(&self, seq_idx: usize, num_tokens: usize, want_logits: bool) -> SeqStep {
        let end = self.num_computed + num_tokens;
        let token = |position: usize| token_at(seq_idx, position, self.capacity.vocab_size);
        SeqStep {
            seq_id: SeqId(seq_idx as u64),
            tokens: (self.num_computed..end).map(token).collect(),
            num_computed_tokens: self.num_computed,
            block_tables: Arc::clone(&self.block_tables[seq_idx]),
            wanted: exec::Wanted::Token(SampleSpec {
                params: Arc::clone(&self.params),
                uniform: 0.5,
                recent_tokens: Vec::new(),
                want_logits,
            }),
        }
    }

    /// One more step for the hash of its logits, then gives the sequences up.
    fn finish(mut self) -> anyhow::Result<u64> {
        let outputs = self.step(1, true)?;
        let finished = (0..self.block_tables.len()).map(|i| SeqId(i as u64)).collect();
        let ticket = self.executor.launch(StepPlan { seqs: Vec::new(), finished })?;
        self.executor.collect(ticket)?;
        let logits = outputs.iter().flat_map(|o| o.logits.iter().flatten());
        Ok(logits.fold(FNV_START, |hash, logit| fnv1a(hash, logit.to_bits())))
    }
}

pub(crate) const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over a word.
pub(crate) fn fnv1a(hash: u64, word: u32) -> u64 {
    word.to_le_bytes().iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
