//! `llcuda imatrix`: computes a text with a model and notes how large the inputs of each matrix are.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, ensure};
use clap::Args;
use cpu::{CpuExecutor, CpuOptions, InputObserver};
use exec::{Executor, SeqStep, StepPlan};
use gguf::{Gguf, TensorInfo};
use quant::Activations;
use quantize::{Collector, Origin};
use types::{BLOCK_SIZE, SeqId, TokenId};

use crate::{
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::thousands,
    progress::ChunkBar,
    text_chunks::{self, Cut},
};

/// What to compute.
#[derive(Args)]
pub(crate) struct ImatrixArgs {
    /// The GGUF file, best in F16, BF16 or Q8_0; the first one of a split
    #[arg(short, long)]
    model: PathBuf,
    /// The text; a few hundred kilobytes of what the model will be used for
    #[arg(short, long)]
    file: PathBuf,
    /// The importance matrix to write (also --output-file)
    #[arg(short, long, visible_alias = "output-file", default_value = "imatrix.gguf")]
    output: PathBuf,
    /// Tokens of a chunk, which is computed by itself
    #[arg(short, long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    ctx_size: u32,
    /// Chunks to compute; -1 is all
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    chunks: i64,
    /// Read control tokens in the text as such
    #[arg(long)]
    parse_special: bool,
    /// Threads; 0 is one per core
    #[arg(short, long, default_value_t = 0)]
    threads: usize,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Computes the chunks and writes the file.
pub(crate) fn run(args: &ImatrixArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    ensure!(args.overwrite || !args.output.exists(), "`{}` exists; pass --overwrite", args.output.display());
    let gguf = Gguf::open(&args.model).with_context(|| format!("cannot load `{}`", args.model.display()))?;
    let gguf = Arc::new(gguf);
    let size = args.ctx_size as usize;
    let cut = Cut { size, limit: args.chunks, parse_special: args.parse_special };
    let chunks = text_chunks::read(&args.file, &gguf, cut)?;
    let collector = Arc::new(Mutex::new(Collector::default()));
    let mut executor = executor(args, &gguf)?;
    executor.observe_inputs(Box::new(Observer { gguf, collector: Arc::clone(&collector) }));
    let bar = ChunkBar::start(chunks.len());
    for chunk in &chunks {
        compute(&mut executor, chunk)?;
        bar.advance();
    }
    bar.finish();
    let origin = Origin {
        dataset: args.file.display().to_string(),
        num_chunks: chunks.len() as u64,
        chunk_size: u64::from(args.ctx_size),
    };
    let collector = collector.lock().map_err(|_| anyhow::anyhow!("a thread of the computation panicked"))?;
    collector.write(&args.output, &origin, args.overwrite)?;
    summary(&collector, chunks.len(), &args.output)
}

fn summary(collector: &Collector, num_chunks: usize, output: &Path) -> anyhow::Result<()> {
    let (unseen, matrices) = collector.unseen();
    if unseen > 0 {
        tracing::warn!("no token came to {unseen} of {matrices} matrices (experts); a longer text would tell more");
    }
    let (tensors, path) = (collector.len(), output.display());
    write_out(&format!("{path}: {tensors} tensors, {} chunks\n", thousands(num_chunks as u64)))
}

fn executor(args: &ImatrixArgs, gguf: &Arc<Gguf>) -> anyhow::Result<CpuExecutor> {
    let size = args.ctx_size as usize;
    let options = CpuOptions {
        num_threads: args.threads,
        num_blocks: size.div_ceil(BLOCK_SIZE),
        max_num_batched_tokens: size,
        max_model_len: size,
        ..CpuOptions::default()
    };
    CpuExecutor::new(Arc::clone(gguf), options).context("cannot load the model on the CPU")
}

/// Computes a chunk as a sequence of its own.
fn compute(executor: &mut CpuExecutor, chunk: &[TokenId]) -> anyhow::Result<()> {
    let tables = executor.capacity().pools.equal_tables((0, 1), chunk.len(), chunk.len());
    let step = SeqStep {
        seq_id: SeqId(1),
        tokens: chunk.iter().copied().collect(),
        num_computed_tokens: 0,
        block_tables: Arc::new(tables.context("the executor was made for smaller chunks")?),
        sample: None,
    };
    let ticket = executor.launch(StepPlan { seqs: vec![step], finished: Vec::new() })?;
    executor.collect(ticket)?;
    Ok(())
}

/// Hands inputs to the collector.
struct Observer {
    gguf: Arc<Gguf>,
    collector: Arc<Mutex<Collector>>,
}

impl InputObserver for Observer {
    fn observe(&mut self, tensor: &TensorInfo, index: usize, inputs: &Activations, rows: Range<usize>) {
        // The executor may see a part of a tensor, or cut one into heads; a file has importances for the tensors of a file.
        let Some(whole) = self.gguf.tensor(&tensor.name) else { return };
        let index = if whole.shape.len() > 2 { index } else { 0 };
        if let Ok(mut collector) = self.collector.lock() {
            collector.add(whole, index, rows.map(|row| inputs.row(row)));
        }
    }
}
