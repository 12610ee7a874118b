//! `llcuda inspect`: what a GGUF file holds.

mod adapter;
mod json;
mod mix;
mod tables;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use gguf::Gguf;

/// What to show.
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The GGUF file, a model or a LoRA adapter; the first one of a split
    file: PathBuf,
    /// Print one JSON object, with every array whole
    #[arg(long)]
    json: bool,
}

/// Prints the file as tables or as JSON.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let gguf = Gguf::open(&args.file).with_context(|| format!("cannot inspect `{}`", args.file.display()))?;
    let text = if args.json { format!("{:#}\n", json::of(&gguf)) } else { tables::of(&gguf) };
    write_out(&text)
}

/// Writes to standard output; a reader that left (`| head`) is not an error.
pub(crate) fn write_out(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}
