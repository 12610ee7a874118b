//! `llcuda perplexity`: how surprised a model is by a text.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    chunks::{Pass, TextArgs, open},
    scores::{Mean, log_softmax},
};
use crate::{
    device::DeviceArgs,
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::thousands,
    progress::ChunkBar,
};

/// What to compute.
#[derive(Args)]
pub(crate) struct PerplexityArgs {
    /// The GGUF file; the first one of a split
    #[arg(short, long)]
    model: PathBuf,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Computes all chunks and prints the perplexity.
pub(crate) fn run(args: &PerplexityArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    let gguf = open(&args.model)?;
    let chunks = args.text.chunks(&gguf)?;
    let mut executor = args.text.load(&gguf, &args.device)?;
    let bar = ChunkBar::start(chunks.len());
    let mut loss = Mean::default();
    for batch in chunks.batches() {
        let mut pass = Pass::start(executor.as_mut(), batch)?;
        while let Some(predictions) = pass.next()? {
            for (logits, expected) in predictions.logits.iter().zip(&predictions.expected) {
                loss.add(-log_softmax(logits)[expected.0 as usize]);
            }
        }
        batch.iter().for_each(|_| bar.advance());
    }
    bar.finish();
    let (perplexity, error) = (loss.value().exp(), loss.value().exp() * loss.error());
    write_out(&if args.json {
        let (tokens, chunks) = (loss.num(), chunks.len());
        format!(
            "{:#}\n",
            json!({"perplexity": perplexity, "standard_error": error, "nats_per_token": loss.value(), "tokens": tokens, "chunks": chunks})
        )
    } else {
        let (tokens, chunks) = (thousands(loss.num()), thousands(chunks.len() as u64));
        format!(
            "perplexity {perplexity:.4} +/- {error:.4} ({:.4} nats a token) over {tokens} tokens of {chunks} chunks\n",
            loss.value()
        )
    })
}
