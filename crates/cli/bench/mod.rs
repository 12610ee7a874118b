//! `llcuda bench`: prompt and generation speed of an executor, beside the bandwidth that bounds it.

mod measure;
mod profile;
mod through_engine;

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use gguf::Gguf;
use serde_json::json;

use crate::{
    device::{self, DeviceArgs},
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::{bytes, parameters},
    progress::{LoadBar, Work},
    source::{SourceArgs, check_writes},
};
use measure::{Case, Measured};
use profile::Profile;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Prompt lengths to measure, in tokens
    #[arg(short = 'p', long, default_value = "512", value_delimiter = ',')]
    n_prompt: Vec<usize>,
    /// Tokens to generate in each batch
    #[arg(short = 'n', long, default_value_t = 64)]
    n_gen: usize,
    /// Batch sizes to generate with
    #[arg(short = 'b', long, default_value = "1,4", value_delimiter = ',')]
    batch: Vec<usize>,
    /// Context of each sequence before it generates, in tokens
    #[arg(short = 'd', long, default_value_t = 0)]
    depth: usize,
    /// Tokens of a prompt computed in one step
    #[arg(long, default_value_t = 512)]
    ubatch_size: usize,
    /// Times each case is measured; the median counts
    #[arg(short, long, visible_alias = "repetitions", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    repeat: u8,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Also time every stage of a decode step, for each batch size (GPU)
    #[arg(long)]
    profile: bool,
    /// Also generate through the engine, as `serve` does; the hash is of the tokens then
    #[arg(long)]
    engine: bool,
    /// The demo model where none is given.
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl BenchArgs {
    fn cases(&self) -> Vec<Case> {
        let prompts = self.n_prompt.iter().filter(|&&n| n > 0).map(|&num_tokens| Case::Prompt { num_tokens });
        let batches = self.batch.iter().filter(|&&b| b > 0 && self.n_gen > 0);
        let generations =
            batches.map(|&batch| Case::Generate { batch, num_tokens: self.n_gen, context: self.depth.max(1) });
        prompts.chain(generations).collect()
    }
}

/// Loads the model, measures every case and prints a table or JSON.
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Auto);
    if cfg!(debug_assertions) {
        tracing::warn!("this is a debug build: its figures say nothing about a release build");
    }
    let path = args.source.path()?;
    let gguf = Arc::new(match &path {
        Some(path) => Gguf::open(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        None => Gguf::from_static(demo::DEMO_GGUF)?,
    });
    check_writes(&gguf)?;
    let cases = args.cases();
    anyhow::ensure!(!cases.is_empty(), "nothing to measure: give --n-prompt or --batch and --n-gen");
    let wanted = measure::wanted(&cases, args.ubatch_size);
    let mut loaded = device::load(Arc::clone(&gguf), &args.device, &wanted, &LoadBar::new(Work::Loading))?;
    let bandwidth = (loaded.read_bandwidth)()?;
    let mut results = Vec::new();
    for case in &cases {
        results.push(measure::run(loaded.executor.as_mut(), *case, args.repeat)?);
    }
    let profiles =
        if args.profile { profile::run(loaded.executor.as_mut(), &args.batch, args.depth.max(1))? } else { Vec::new() };
    if args.engine {
        results.extend(through_engine::run(loaded.executor, &cases, args.repeat)?);
    }
    let report = Report {
        model: args.source.name(path.as_deref()).unwrap_or_else(|| "demo".to_owned()),
        num_params: gguf.tensors().iter().map(|t| t.num_weights() as u64).sum(),
        device: loaded.device,
        weight_bytes: gguf.weight_bytes(),
        step_bytes: step_bytes(&gguf),
        kv_bytes_per_token: loaded.kv_bytes_per_token,
        bandwidth,
        results,
        profiles,
    };
    write_out(&if args.json { format!("{:#}\n", report.json()) } else { report.table() })
}

/// Bytes of weights that a step reads: all but an embedding table that is not the output matrix too, of which a step
/// reads a row per token.
fn step_bytes(gguf: &Gguf) -> u64 {
    let table = gguf.tensor("token_embd.weight").filter(|_| gguf.tensor("output.weight").is_some());
    gguf.weight_bytes() - table.map_or(0, |t| t.num_bytes as u64)
}

struct Report {
    model: String,
    num_params: u64,
    device: String,
    weight_bytes: u64,
    step_bytes: u64,
    kv_bytes_per_token: u64,
    /// Bytes per second that the device reads, measured.
    bandwidth: f64,
    results: Vec<Measured>,
    profiles: Vec<Profile>,
}

impl Report {
    /// Bytes that must be read per second at least: weights once a step, keys and values once a token.
    fn read_rate(&self, m: &Measured) -> f64 {
        let weights = self.step_bytes * m.num_steps as u64;
        (weights + self.kv_bytes_per_token * m.num_kv_tokens as u64) as f64 / m.seconds
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        let header = ["test", "tok/s", "ms per step", "GB/s read", "of bandwidth", "hash"];
        table.load_style(ASCII_MARKDOWN).set_header(header);
        for m in &self.results {
            let rate = self.read_rate(m);
            table.add_row(vec![
                m.case.to_string(),
                format!("{:.1}", m.tokens_per_second()),
                format!("{:.3}", 1e3 * m.seconds / m.num_steps as f64),
                format!("{:.2}", rate / 1e9),
                format!("{:.0} %", 100.0 * rate / self.bandwidth),
                format!("{:016x}", m.hash),
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let profiles: String = self.profiles.iter().map(|p| p.table(self.bandwidth)).collect();
        format!(
            "{}, {} parameters, weights {}\n{}, measured read bandwidth {:.1} GB/s\n\n{table}\n{profiles}",
            self.model,
            parameters(self.num_params),
            bytes(self.weight_bytes),
            self.device,
            self.bandwidth / 1e9
        )
    }

    fn json(&self) -> serde_json::Value {
        let results: Vec<_> = self
            .results
            .iter()
            .map(|m| {
                json!({
                    "test": m.case.to_string(), "tokens_per_second": m.tokens_per_second(), "seconds": m.seconds,
                    "steps": m.num_steps, "bytes_read_per_second": self.read_rate(m),
                    "share_of_bandwidth": self.read_rate(m) / self.bandwidth,
                    "hash": format!("{:016x}", m.hash),
                })
            })
            .collect();
        json!({
            "model": self.model, "parameters": self.num_params, "device": self.device,
            "weight_bytes": self.weight_bytes, "read_bandwidth_bytes_per_second": self.bandwidth, "results": results,
            "profiles": self.profiles.iter().map(Profile::json).collect::<Vec<_>>(),
        })
    }
}
