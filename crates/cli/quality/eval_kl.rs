//! `llcuda eval-kl`: how far a model's predictions are from another's, a quantized file's from its source for example.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde_json::json;

use super::{
    chunks::{Pass, TextArgs, open},
    scores::{Mean, kl_divergence, largest, log_softmax, quantile},
};
use crate::{
    device::DeviceArgs,
    inspect::write_out,
    logging::{self, LogFormat},
    numbers::thousands,
    progress::ChunkBar,
};

/// What to compare.
#[derive(Args)]
pub(crate) struct EvalKlArgs {
    /// The GGUF file that is right by definition
    base: PathBuf,
    /// The GGUF file to judge; both are loaded at once
    other: PathBuf,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was seen over all predictions.
#[derive(Default)]
struct Comparison {
    base_loss: Mean,
    other_loss: Mean,
    divergence: Mean,
    /// Whether both find the same token most probable.
    same_top: Mean,
    divergences: Vec<f64>,
}

impl Comparison {
    fn add(&mut self, base: &[f32], other: &[f32], expected: usize) {
        let (ln_p, ln_q) = (log_softmax(base), log_softmax(other));
        let divergence = kl_divergence(&ln_p, &ln_q);
        self.base_loss.add(-ln_p[expected]);
        self.other_loss.add(-ln_q[expected]);
        self.divergence.add(divergence);
        self.divergences.push(divergence);
        self.same_top.add(f64::from(u8::from(largest(&ln_p) == largest(&ln_q))));
    }

    /// Names and values, with the standard error of means.
    fn rows(&self) -> Vec<(&'static str, f64, Option<f64>)> {
        let mut sorted = self.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let perplexity = |loss: &Mean| (loss.value().exp(), Some(loss.value().exp() * loss.error()));
        let (base, base_error) = perplexity(&self.base_loss);
        let (other, other_error) = perplexity(&self.other_loss);
        vec![
            ("perplexity_base", base, base_error),
            ("perplexity_other", other, other_error),
            ("perplexity_ratio", other / base, None),
            ("kl_mean", self.divergence.value(), Some(self.divergence.error())),
            ("kl_median", quantile(&sorted, 0.5), None),
            ("kl_99_percent", quantile(&sorted, 0.99), None),
            ("kl_max", quantile(&sorted, 1.0), None),
            ("same_top_token", self.same_top.value(), Some(self.same_top.error())),
        ]
    }
}

/// Computes all chunks with both models and prints how they differ.
pub(crate) fn run(args: &EvalKlArgs) -> anyhow::Result<()> {
    logging::init(LogFormat::Text);
    let (base, other) = (open(&args.base)?, open(&args.other)?);
    let chunks = args.text.chunks(&base)?;
    let mut executors = [args.text.load(&base, &args.device)?, args.text.load(&other, &args.device)?];
    let [base_vocab, other_vocab] = [0, 1].map(|i| executors[i].capacity().vocab_size);
    ensure!(
        base_vocab == other_vocab,
        "`{}` has {base_vocab} tokens, `{}` has {other_vocab}; only models with the same vocabulary can be compared",
        args.base.display(),
        args.other.display()
    );
    let bar = ChunkBar::start(chunks.len());
    let mut comparison = Comparison::default();
    for batch in chunks.batches() {
        let [base, other] = &mut executors;
        let (mut base, mut other) = (Pass::start(base.as_mut(), batch)?, Pass::start(other.as_mut(), batch)?);
        while let (Some(p), Some(q)) = (base.next()?, other.next()?) {
            for ((base, other), expected) in p.logits.iter().zip(&q.logits).zip(&p.expected) {
                comparison.add(base, other, expected.0 as usize);
            }
        }
        batch.iter().for_each(|_| bar.advance());
    }
    bar.finish();
    write_out(&report(&comparison, args.json))
}

fn report(comparison: &Comparison, as_json: bool) -> String {
    let (rows, tokens) = (comparison.rows(), comparison.divergence.num());
    if as_json {
        let mut object = serde_json::Map::new();
        object.insert("tokens".to_owned(), json!(tokens));
        for (name, value, error) in rows {
            object.insert(name.to_owned(), json!(value));
            if let Some(error) = error {
                object.insert(format!("{name}_error"), json!(error));
            }
        }
        return format!("{:#}\n", serde_json::Value::Object(object));
    }
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["over the text", "value", "+/-"]);
    for (name, value, error) in rows {
        table.add_row([
            name.replace('_', " "),
            format!("{value:.6}"),
            error.map_or_else(String::new, |e| format!("{e:.6}")),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    format!("{table}\n{} tokens scored; divergences in nats\n", thousands(tokens))
}
