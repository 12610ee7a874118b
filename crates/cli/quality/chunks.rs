//! The chunks of a text, and their predictions step by step.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use exec::{Executor, SampleSpec, SeqStep, StepPlan};
use gguf::Gguf;
use types::{BLOCK_SIZE, BlockId, SamplingParams, SeqId, TokenId};

use crate::{
    device::{self, DeviceArgs, Wanted},
    progress::{LoadBar, Work},
    source::check_writes,
    text_chunks::{self, Cut},
};

/// Tokens of a prompt in one step.
const STEP_TOKENS: usize = 512;

/// Which text, and how it is cut.
#[derive(Args, Clone, Debug)]
pub(crate) struct TextArgs {
    /// The text, UTF-8
    #[arg(short, long)]
    file: PathBuf,
    /// Tokens of a chunk, of which the second half is scored
    #[arg(short, long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(4..=1 << 20))]
    ctx_size: u32,
    /// Chunks to compute; -1 is all
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    chunks: i64,
    /// Chunks computed side by side
    #[arg(short, long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: u32,
}

/// A text's chunks of equal length.
pub(crate) struct Chunks {
    chunks: Vec<Vec<TokenId>>,
    batch: usize,
}

/// Predictions of the same position in the chunks of a batch.
pub(crate) struct Predictions {
    /// Raw logits of each chunk, `[vocab_size]`.
    pub(crate) logits: Vec<Vec<f32>>,
    /// The tokens that follow in the text.
    pub(crate) expected: Vec<TokenId>,
}

impl TextArgs {
    /// Reads and cuts the text as the model's tokenizer does.
    pub(crate) fn chunks(&self, gguf: &Gguf) -> anyhow::Result<Chunks> {
        let cut = Cut { size: self.ctx_size as usize, skip: 0, limit: self.chunks, parse_special: false };
        let chunks = text_chunks::read(&self.file, gguf, cut)?;
        Ok(Chunks { chunks, batch: self.batch as usize })
    }

    /// Puts a model on the device, with room for a batch of chunks.
    pub(crate) fn load(&self, gguf: &Arc<Gguf>, device: &DeviceArgs) -> anyhow::Result<Box<dyn Executor>> {
        let (size, batch) = (self.ctx_size as usize, self.batch as usize);
        let wanted = Wanted {
            num_seqs: batch,
            num_batched_tokens: STEP_TOKENS.max(batch),
            num_tokens: Some(batch * size.next_multiple_of(BLOCK_SIZE)),
            seq_tokens: Some(size),
        };
        Ok(device::load(Arc::clone(gguf), device, &wanted, &LoadBar::new(Work::Loading))?.executor)
    }
}

/// Opens a file, naming it in the error.
pub(crate) fn open(path: &Path) -> anyhow::Result<Arc<Gguf>> {
    let gguf = Gguf::open(path).with_context(|| format!("cannot load `{}`", path.display()))?;
    check_writes(&gguf).with_context(|| format!("cannot measure `{}`", path.display()))?;
    Ok(Arc::new(gguf))
}

impl Chunks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Chunks that are computed side by side.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &[Vec<TokenId>]> {
        self.chunks.chunks(self.batch)
    }
}

/// A batch on its way through a model.
pub(crate) struct Pass<'a> {
    executor: &'a mut dyn Executor,
    chunks: &'a [Vec<TokenId>],
    /// Of each chunk.
    block_tables: Vec<Arc<Vec<Vec<BlockId>>>>,
    num_computed: usize,
    params: Arc<SamplingParams>,
}

impl<'a> Pass<'a> {
    /// Computes the first half of each chunk.
    pub(crate) fn start(executor: &'a mut dyn Executor, chunks: &'a [Vec<TokenId>]) -> anyhow::Result<Self> {
        let (capacity, batch, size) = (executor.capacity(), chunks.len(), chunks[0].len());
        let per_seq = (capacity.max_num_batched_tokens / batch).clamp(1, size);
        let tables = |i: usize| capacity.pools.equal_tables((i, batch), size, per_seq).map(Arc::new);
        let block_tables: Option<Vec<_>> = (0..batch).map(tables).collect();
        let block_tables = block_tables
            .with_context(|| format!("{:?} are too few for {batch} chunks of {size} tokens", capacity.pools))?;
        let params = Arc::new(SamplingParams::greedy());
        let mut pass = Self { executor, chunks, block_tables, num_computed: 0, params };
        let half = size / 2;
        while pass.num_computed < half {
            pass.step(per_seq.min(half - pass.num_computed), false)?;
        }
        Ok(pass)
    }

    /// The predictions of the next position; `None` behind the last.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Predictions>> {
        if self.num_computed + 1 >= self.chunks[0].len() {
            return Ok(None);
        }
        let logits = self.step(1, true)?;
        let expected = self.chunks.iter().map(|chunk| chunk[self.num_computed]).collect();
        Ok(Some(Predictions { logits, expected }))
    }

    fn step(&mut self, num_tokens: usize, want_logits: bool) -> anyhow::Result<Vec<Vec<f32>>> {
        let seqs = (0..self.chunks.len()).map(|i| self.seq_step(i, num_tokens, want_logits)).collect();
        let ticket = self.executor.launch(StepPlan { seqs, finished: Vec::new() })?;
        let output = self.executor.collect(ticket)?;
        self.num_computed += num_tokens;
        Ok(output.seqs.into_iter().filter_map(|seq| seq.logits).collect())
    }

    fn sample_spec(&self) -> SampleSpec {
        let params = Arc::clone(&self.params);
        SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: true }
    }

    fn seq_step(&self, seq_idx: usize, num_tokens: usize, want_logits: bool) -> SeqStep {
        let end = self.num_computed + num_tokens;
        SeqStep {
            seq_id: SeqId(seq_idx as u64),
            tokens: self.chunks[seq_idx][self.num_computed..end].iter().copied().collect(),
            num_computed_tokens: self.num_computed,
            block_tables: Arc::clone(&self.block_tables[seq_idx]),
            wanted: if want_logits { exec::Wanted::Token(self.sample_spec()) } else { exec::Wanted::Nothing },
        }
    }
}
