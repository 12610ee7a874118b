//! Where the time of a decode step goes, stage by stage.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use exec::{Executor, StageTime};
use serde_json::json;

/// The stages of a step of one batch size.
pub(super) struct Profile {
    batch: usize,
    context: usize,
    stages: Vec<StageTime>,
}

/// Times the stages for each batch size.
///
/// # Errors
/// When the executor cannot tell its stages apart, or a batch does not fit.
pub(super) fn run(executor: &mut dyn Executor, batches: &[usize], context: usize) -> anyhow::Result<Vec<Profile>> {
    let profiles = batches.iter().map(|&batch| {
        let stages = executor.profile(batch, context)?;
        let stages =
            stages.ok_or_else(|| anyhow::anyhow!("--profile needs a GPU: the CPU cannot tell its stages apart"))?;
        Ok(Profile { batch, context, stages })
    });
    profiles.collect()
}

impl Profile {
    /// Time, bytes a second and share of the bandwidth of every stage. Stages are timed alone, one behind the other, so
    /// that their sum is a little more than the step.
    pub(super) fn table(&self, bandwidth: f64) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(["stage", "us", "of the step", "GB/s", "of bandwidth"]);
        let step = self.stages.iter().find(|s| s.stage == "step").map_or(f64::NAN, |s| s.micros);
        for StageTime { stage, micros, bytes } in &self.stages {
            let rate = *bytes as f64 / (micros * 1e-6);
            let share = if *bytes == 0 { String::new() } else { format!("{:.0} %", 100.0 * rate / bandwidth) };
            let rate = if *bytes == 0 { String::new() } else { format!("{:.0}", rate / 1e9) };
            table.add_row([
                (*stage).to_owned(),
                format!("{micros:.1}"),
                format!("{:.0} %", 100.0 * micros / step),
                rate,
                share,
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("\nDecode step, batch {}, context {}:\n\n{table}\n", self.batch, self.context)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let stages: Vec<_> =
            self.stages.iter().map(|s| json!({ "stage": s.stage, "micros": s.micros, "bytes": s.bytes })).collect();
        json!({ "batch": self.batch, "context": self.context, "stages": stages })
    }
}
