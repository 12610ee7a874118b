//! `llcuda imatrix`: computes a text with a model and notes how large the inputs of each matrix are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use exec::{Executor, HiddenRows, SeqStep, StepPlan};
use gguf::Gguf;
use quantize::{ImatrixFormat, Sums};
use types::{BLOCK_SIZE, SeqId, TokenId};

use crate::{
    device::{self, DeviceArgs, Wanted},
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::thousands,
    progress::{ChunkBar, LoadBar, Work},
    source::is_same_file,
    text_chunks::{self, Cut},
};

/// What to compute.
#[derive(Args)]
pub(crate) struct ImatrixArgs {
    /// The GGUF file, best in F16, BF16 or Q8_0; the first one of a split
    #[arg(short, long, required_unless_present = "in_file")]
    model: Option<PathBuf>,
    /// The text; a few hundred kilobytes of what the model will be used for. May be left out where matrices are merged
    #[arg(short, long, required_unless_present = "in_file", requires = "model")]
    file: Option<PathBuf>,
    /// Begin with this importance matrix, of the same model and another text; may be given again
    #[arg(long, value_name = "FILE")]
    in_file: Vec<PathBuf>,
    /// The importance matrix to write (also --output-file)
    #[arg(short, long, visible_alias = "output-file", default_value = "imatrix.gguf")]
    output: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "gguf")]
    output_format: OutputFormat,
    /// Write it after every N chunks too; 0 waits for the end (also -ofreq)
    #[arg(long, value_name = "N", default_value_t = 10)]
    output_frequency: usize,
    /// Keep a copy after every N chunks, named OUTPUT.at_CHUNKS; 0 keeps none
    #[arg(long, value_name = "N", default_value_t = 0)]
    save_frequency: usize,
    /// Count output.weight too
    #[arg(long)]
    process_output: bool,
    /// Tokens of a chunk, which is computed by itself
    #[arg(short, long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    ctx_size: u32,
    /// Tokens of a step: longer chunks take several, of shorter ones several are computed side by side
    #[arg(short, long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch_size: u32,
    /// Chunks to leave out at the beginning of the text (also --from-chunk)
    #[arg(long, visible_alias = "from-chunk", value_name = "N", default_value_t = 0)]
    chunk: usize,
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

/// How an importance matrix is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// Sums and counts of each expert
    Gguf,
    /// What llama.cpp wrote before: means
    Dat,
}

/// Computes the chunks, beside what was computed before, and writes the file.
pub(crate) fn run(args: &ImatrixArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    ensure!(args.overwrite || !args.output.exists(), "`{}` exists; pass --overwrite", args.output.display());
    for input in args.in_file.iter().chain(&args.model).chain(&args.file) {
        ensure!(!is_same_file(input, &args.output), "`{}` is an input; choose another --output", input.display());
    }
    let mut sums = Sums::new(u64::from(args.ctx_size));
    args.in_file.iter().try_for_each(|path| sums.merge(path))?;
    let num_new = match (&args.model, &args.file) {
        (Some(model), Some(text)) => args.add_text(model, text, &mut sums)?,
        _ => 0,
    };
    let is_ours = (1..=num_new).contains(&args.output_frequency);
    args.write(&sums, &args.output, args.overwrite || is_ours)?;
    summary(&sums, &args.output)
}

impl ImatrixArgs {
    fn write(&self, sums: &Sums, path: &Path, overwrite: bool) -> anyhow::Result<()> {
        let format = match self.output_format {
            OutputFormat::Gguf => ImatrixFormat::Gguf,
            OutputFormat::Dat => ImatrixFormat::Dat,
        };
        Ok(sums.write(path, format, overwrite)?)
    }

    /// Writes what is there after `done` chunks, of which `more` are new, where the flags want that.
    fn save(&self, sums: &Sums, done: usize, more: usize) -> anyhow::Result<()> {
        if passes(self.output_frequency, done, more) {
            // From the second time on the file is our own.
            self.write(sums, &self.output, self.overwrite || done - more >= self.output_frequency)?;
        }
        if passes(self.save_frequency, done, more) {
            let mut name = self.output.as_os_str().to_owned();
            name.push(format!(".at_{}", sums.num_chunks()));
            self.write(sums, Path::new(&name), self.overwrite)?;
        }
        Ok(())
    }

    /// Adds what a model computes of a text; the number of chunks.
    fn add_text(&self, model: &Path, text: &Path, sums: &mut Sums) -> anyhow::Result<usize> {
        let gguf = Gguf::open(model).with_context(|| format!("cannot load `{}`", model.display()))?;
        let has_output = gguf.tensor("output.weight").is_some();
        if self.process_output && !has_output {
            tracing::warn!("the model's output matrix is its embedding: --process-output has nothing to count");
        }
        let cut = Cut {
            size: self.ctx_size as usize,
            skip: self.chunk,
            limit: self.chunks,
            parse_special: self.parse_special,
        };
        let chunks = text_chunks::read(text, &gguf, cut)?;
        let mut executor = self.load(Arc::new(gguf))?;
        executor.observe_inputs()?;
        sums.datasets.push(text.display().to_string());
        let bar = ChunkBar::start(chunks.len());
        let mut num_done = 0;
        for batch in chunks.chunks(self.chunks_per_step()) {
            compute(executor.as_mut(), batch, (self.process_output && has_output).then_some(&mut *sums))?;
            let inputs = executor.take_input_sums()?;
            sums.add(&inputs.context("the device does not tell what matrices are multiplied with")?)?;
            batch.iter().for_each(|_| bar.advance());
            num_done += batch.len();
            self.save(sums, num_done, batch.len())?;
        }
        bar.finish();
        Ok(num_done)
    }

    fn load(&self, gguf: Arc<Gguf>) -> anyhow::Result<Box<dyn Executor>> {
        let (size, num_seqs) = (self.ctx_size as usize, self.chunks_per_step());
        let wanted = Wanted {
            num_seqs,
            num_batched_tokens: num_seqs.max(self.batch_size as usize),
            num_tokens: Some(num_seqs * size.next_multiple_of(BLOCK_SIZE)),
            seq_tokens: Some(size),
        };
        Ok(device::load(gguf, &self.device, &wanted, &LoadBar::new(Work::Loading))?.executor)
    }

    /// Chunks that are computed side by side.
    fn chunks_per_step(&self) -> usize {
        (self.batch_size / self.ctx_size).max(1) as usize
    }
}

/// Whether the last `more` of `done` chunks reach a multiple of `every`, which is 0 for never.
fn passes(every: usize, done: usize, more: usize) -> bool {
    every > 0 && done / every > (done - more) / every
}

fn summary(sums: &Sums, output: &Path) -> anyhow::Result<()> {
    let (unseen, matrices) = sums.unseen();
    if unseen > 0 {
        tracing::warn!("no token came to {unseen} of {matrices} matrices (experts); a longer text would tell more");
    }
    let (tensors, path) = (sums.len(), output.display());
    write_out(&format!("{path}: {tensors} tensors, {} chunks\n", thousands(sums.num_chunks())))
}

/// Computes chunks side by side, each as a sequence of its own. The output matrix is not multiplied then: `output` takes
/// what it would be multiplied with.
fn compute(executor: &mut dyn Executor, chunks: &[Vec<TokenId>], mut output: Option<&mut Sums>) -> anyhow::Result<()> {
    let (capacity, num_seqs, size) = (executor.capacity(), chunks.len(), chunks[0].len());
    let per_seq = (capacity.max_num_batched_tokens / num_seqs).clamp(1, size);
    let tables = |i: usize| capacity.pools.equal_tables((i, num_seqs), size, per_seq).map(Arc::new);
    let tables: Option<Vec<_>> = (0..num_seqs).map(tables).collect();
    let tables = tables.context("the executor was made for smaller chunks")?;
    for start in (0..size).step_by(per_seq) {
        let step = |(i, chunk): (usize, &Vec<TokenId>)| SeqStep {
            seq_id: SeqId(i as u64),
            tokens: chunk[start..size.min(start + per_seq)].iter().copied().collect(),
            num_computed_tokens: start,
            block_tables: Arc::clone(&tables[i]),
            wanted: if output.is_some() { exec::Wanted::Hidden(HiddenRows::All) } else { exec::Wanted::Nothing },
        };
        let num_tokens = per_seq.min(size - start);
        let seqs = chunks.iter().enumerate().map(step).collect();
        let ticket = executor.launch(StepPlan { seqs, finished: Vec::new() })?;
        for hidden in executor.collect(ticket)?.hidden {
            if let Some(output) = &mut output {
                output.add_output(&hidden.values, hidden.values.len() / num_tokens)?;
            }
        }
    }
    Ok(())
}
