//! `llcuda imatrix`: computes a text with a model and notes how large the inputs of each matrix are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use clap::Args;
use exec::{Executor, SeqStep, StepPlan};
use gguf::Gguf;
use quantize::{Origin, has_importance, write_imatrix};
use types::{InputSums, SeqId, TokenId};

use crate::{
    device::{self, DeviceArgs, Wanted},
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::thousands,
    progress::{ChunkBar, LoadBar, Work},
    text_chunks::{self, Cut},
};

/// Tokens of a step at most.
const STEP_TOKENS: usize = 2048;

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
    #[command(flatten)]
    device: DeviceArgs,
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
    let wanted = Wanted {
        num_seqs: 1,
        num_batched_tokens: size.min(STEP_TOKENS),
        num_tokens: Some(size),
        seq_tokens: Some(size),
    };
    let mut executor = device::load(gguf, &args.device, &wanted, &LoadBar::new(Work::Loading))?.executor;
    executor.observe_inputs()?;
    let bar = ChunkBar::start(chunks.len());
    for chunk in &chunks {
        compute(executor.as_mut(), chunk)?;
        bar.advance();
    }
    bar.finish();
    let origin = Origin {
        dataset: args.file.display().to_string(),
        num_chunks: chunks.len() as u64,
        chunk_size: u64::from(args.ctx_size),
    };
    let mut sums = executor.take_input_sums()?.context("the device does not tell what matrices are multiplied with")?;
    sums.retain(has_importance);
    write_imatrix(&sums, &args.output, &origin, args.overwrite)?;
    summary(&sums, chunks.len(), &args.output)
}

fn summary(sums: &InputSums, num_chunks: usize, output: &Path) -> anyhow::Result<()> {
    let (unseen, matrices) = sums.unseen();
    if unseen > 0 {
        tracing::warn!("no token came to {unseen} of {matrices} matrices (experts); a longer text would tell more");
    }
    let (tensors, path) = (sums.len(), output.display());
    write_out(&format!("{path}: {tensors} tensors, {} chunks\n", thousands(num_chunks as u64)))
}

/// Computes a chunk as a sequence of its own.
fn compute(executor: &mut dyn Executor, chunk: &[TokenId]) -> anyhow::Result<()> {
    let capacity = executor.capacity();
    let tables = capacity.pools.equal_tables((0, 1), chunk.len(), capacity.max_num_batched_tokens);
    let block_tables = Arc::new(tables.context("the executor was made for smaller chunks")?);
    for (i, tokens) in chunk.chunks(capacity.max_num_batched_tokens).enumerate() {
        let step = SeqStep {
            seq_id: SeqId(1),
            tokens: tokens.iter().copied().collect(),
            num_computed_tokens: i * capacity.max_num_batched_tokens,
            block_tables: Arc::clone(&block_tables),
            wanted: exec::Wanted::Nothing,
        };
        let ticket = executor.launch(StepPlan { seqs: vec![step], finished: Vec::new() })?;
        executor.collect(ticket)?;
    }
    Ok(())
}
