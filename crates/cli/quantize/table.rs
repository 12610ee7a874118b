//! What became of every tensor, and of the file.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use quantize::{Plan, Report};

use crate::numbers::{bytes, parameters};

/// A row for every tensor, then the file before and after.
pub(super) fn shown(plan: &Plan, report: Option<&Report>, took: Option<Duration>) -> String {
    let mut table = Table::new();
    let mut header = vec!["tensor", "shape", "from", "to", "before", "after"];
    if report.is_some() {
        header.extend(["rmse", "of rms"]);
    }
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for (i, t) in plan.tensors.iter().enumerate() {
        let shape = t.source.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        let mut row = vec![
            t.name.clone(),
            shape,
            t.source.ggml_type.name().to_owned(),
            t.to.name().to_owned(),
            bytes(t.source.num_bytes as u64),
            bytes(t.num_bytes()),
        ];
        if let Some(loss) = report.and_then(|r| r.losses.get(i)) {
            row.extend([format!("{:.3e}", loss.rmse()), format!("{:.2} %", 100.0 * loss.relative())]);
        }
        table.add_row(row);
    }
    (4..8).filter_map(|i| table.column_mut(i).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    format!("{table}\n\n{}\n", summary(plan, report, took))
}

fn summary(plan: &Plan, report: Option<&Report>, took: Option<Duration>) -> String {
    let num_weights: u64 = plan.tensors.iter().map(|t| t.source.num_weights() as u64).sum();
    let (before, after) = plan.num_bytes();
    let bits = |n: u64| 8.0 * n as f64 / num_weights.max(1) as f64;
    let mut text = format!(
        "{} parameters: {} at {:.2} bits per weight -> {} at {:.2}",
        parameters(num_weights),
        bytes(before),
        bits(before),
        bytes(after),
        bits(after),
    );
    if let Some(report) = report {
        let mut total = quantize::Loss::default();
        report.losses.iter().for_each(|loss| total.add(loss));
        text += &format!(", root mean square error {:.3e}", total.rmse());
        let paths: Vec<String> = report.paths.iter().map(|p| p.display().to_string()).collect();
        text += &format!("\nwritten: {}", paths.join(", "));
    }
    if let Some(took) = took {
        text += &format!(" in {:.1} s", took.as_secs_f64());
    }
    text
}
