//! `llcuda merge-lora`: adapters become part of their base.

use std::path::PathBuf;

use clap::Args;
use convert::MergeOptions;

use crate::{
    convert::{OutputArgs, TypeName, report},
    progress::WriteBar,
    source,
};

/// Arguments of `llcuda merge-lora`.
#[derive(Args)]
pub(crate) struct MergeLoraArgs {
    /// The base: folder of a Hugging Face model, USER/MODEL of Hugging Face, or GGUF file
    base: PathBuf,
    /// The adapters, merged one after the other: folders that PEFT saved, or GGUF files
    #[arg(required = true)]
    adapters: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// Multiplies what the adapters add
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_name = "S")]
    scale: f32,
    /// Type of the matrices; `auto` keeps those of a GGUF base, and the 16 bits of a folder
    #[arg(long, value_enum, default_value_t = TypeName::Auto)]
    outtype: TypeName,
}

/// Merges and says what was made.
pub(crate) fn run(args: &MergeLoraArgs) -> anyhow::Result<()> {
    let MergeLoraArgs { base, adapters, output, scale, outtype } = args;
    anyhow::ensure!(scale.is_finite(), "--scale is {scale}; expected a finite number");
    for input in std::iter::once(base).chain(adapters) {
        let is_in_the_way = source::would_replace(output.path(), input);
        anyhow::ensure!(!is_in_the_way, "`{}` is an input; choose another name for the output", input.display());
    }
    let options = MergeOptions { scale: *scale, out_type: outtype.out_type(), writer: output.options() };
    let bar = WriteBar::new();
    let show = &mut |done, total| bar.show(done, total);
    let base = source::checkpoint(base)?;
    let adapters: Vec<PathBuf> = adapters.iter().map(|a| source::checkpoint(a)).collect::<Result<_, _>>()?;
    let merged = convert::merge_lora(&base, &adapters, output.path(), &options, show);
    bar.finish();
    report(&merged?);
    Ok(())
}
