//! `llcuda recommend`: which quantization of a model to serve on a GPU. Looks at shapes alone; weights are not read.

mod gpu;
mod mix;
mod place;
mod plan;
mod report;
mod room;
mod shape;
mod speed;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    inspect::write_out,
    logging,
    logging::LogFormat,
    serve::file_type,
    source::{SourceArgs, check_writes},
};
use gpu::{Gpu, GpuName};
use place::Place;
use plan::{Strategy, Wanted, candidates, choose};
use report::Report;
use shape::Shape;

/// What shall fit where.
#[derive(Args)]
pub(crate) struct RecommendArgs {
    /// The GGUF file, best in F16 or BF16; the first one of a split. Of a model of the hub (-hf) only the header is read
    file: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    /// The GPU; the one of this machine where none is named
    #[arg(long, value_enum)]
    gpu: Option<GpuName>,
    /// Memory of the GPU that is free, e.g. 15G or 15360M; else what the GPU has
    #[arg(long, value_name = "SIZE", value_parser = size)]
    vram: Option<u64>,
    /// Users at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    users: u64,
    /// Tokens of context of each user
    #[arg(long, visible_alias = "ctx-size", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(16..=16_777_216))]
    ctx: u64,
    /// How much quality to give for size and speed
    #[arg(long, value_enum, default_value = "balanced")]
    strategy: Strategy,
    /// Look for the longest context instead of --ctx
    #[arg(long)]
    fit_context: bool,
    /// MiB of the memory to leave free, as `serve` does
    #[arg(long, default_value_t = 1024)]
    fit_target: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what fits and what to take; an error when nothing does.
pub(crate) fn run(args: &RecommendArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Auto);
    let (place, gguf) = Place::open(args.file.as_ref(), &args.source)?;
    let advice_failed = || format!("cannot advise on `{}`", place.name());
    check_writes(&gguf).with_context(advice_failed)?;
    let shape = Shape::of(&gguf).with_context(advice_failed)?;
    let wanted = args.wanted()?;
    let candidates = candidates(&gguf, &shape, &file_type::name(&gguf), &wanted);
    let chosen = choose(&candidates, &wanted);
    let report = Report {
        place: &place,
        arch: shape.spec.arch,
        num_weights: shape.num_weights(),
        is_quantized: gguf.tensors().iter().any(|tensor| tensor.ggml_type.block_len() > 1),
        wanted: &wanted,
        candidates: &candidates,
        chosen,
    };
    write_out(&if args.json { format!("{:#}\n", report.json()) } else { report.text() })?;
    ensure!(chosen.is_some(), "no candidate fits");
    Ok(())
}

impl RecommendArgs {
    fn wanted(&self) -> anyhow::Result<Wanted> {
        let present = if self.gpu.is_none() { Gpu::present()? } else { None };
        let gpu = match (self.gpu.map(Gpu::named).or(present), self.vram) {
            (Some(gpu), vram) => Gpu { free_bytes: vram.unwrap_or(gpu.free_bytes), ..gpu },
            // Memory says nothing about speed; the slowest of the GPUs promises least.
            (None, Some(vram)) => Gpu { free_bytes: vram, ..Gpu::named(GpuName::T4) },
            (None, None) => anyhow::bail!("this machine has no GPU: name one with --gpu, or its memory with --vram"),
        };
        Ok(Wanted {
            gpu,
            is_present: present.is_some(),
            margin_bytes: self.fit_target << 20,
            users: self.users as usize,
            context: self.ctx as usize,
            strategy: self.strategy,
            fit_context: self.fit_context,
        })
    }
}

/// `15G`, `15.5GiB`, `16384M`.
fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "g" | "gib" => (1_u64 << 30) as f64,
        "m" | "mib" => (1_u64 << 20) as f64,
        "gb" => 1e9,
        "mb" => 1e6,
        _ => return Err("it must be a number with G, GiB, GB, M, MiB or MB".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "it must begin with a number".to_owned())?;
    if number > 0.0 && number * unit < 1e15 { Ok((number * unit) as u64) } else { Err("it is out of range".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("15G"), size("1.5GiB"), size("512M")), (Ok(15 << 30), Ok(3 << 29), Ok(512 << 20)));
        assert_eq!(size("16GB"), Ok(16_000_000_000));
        for text in ["", "15", "G", "-1G", "0G", "1e9G", "9999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
