//! What `/metrics` tells: llama-server's names and vLLM's, so that the dashboards and routers of both keep working.
//!
//! Requests are counted here as they go; the engine's own counters are read when someone asks. One registry a server,
//! nothing global.

mod engine_stats;
mod requests;

use std::{collections::HashMap, time::Duration};

use engine::{Capacity, EngineStats, FailReason, Finished};
use prometheus::{TextEncoder, proto::MetricFamily};

use crate::generate::Figures;
use requests::Requests;

/// The metrics of one server.
pub(crate) struct Metrics {
    model_id: String,
    capacity: Capacity,
    requests: Requests,
}

impl Metrics {
    pub(crate) fn new(model_id: &str, capacity: Capacity) -> Self {
        Self { model_id: model_id.to_owned(), capacity, requests: Requests::new(model_id, capacity) }
    }

    /// A choice was handed to the engine.
    pub(crate) fn started(&self, max_tokens: usize) {
        self.requests.max_tokens.observe(max_tokens as f64);
    }

    /// A request asked for so many choices.
    pub(crate) fn num_choices(&self, num_choices: usize) {
        self.requests.num_choices.observe(num_choices as f64);
    }

    /// The first token of a choice came so long after its request.
    pub(crate) fn first_token(&self, after: Duration) {
        self.requests.first_token.observe(after.as_secs_f64());
    }

    /// Another token came so long after the one before.
    pub(crate) fn next_token(&self, after: Duration) {
        self.requests.next_token.observe(after.as_secs_f64());
    }

    /// A choice is complete, so long after its request.
    pub(crate) fn finished(&self, finish_reason: &str, figures: &Figures, after: Duration) {
        self.requests.finished(finish_reason, figures, after);
    }

    /// A text is embedded, so long after its request.
    pub(crate) fn embedded(&self, finished: &Finished, after: Duration) {
        self.requests.embedded(finished, after);
    }

    /// A choice failed after it was accepted.
    pub(crate) fn failed(&self, reason: &FailReason) {
        let label = match reason {
            FailReason::DeadlineExceeded => "timeout",
            FailReason::ShuttingDown => "abort",
            FailReason::Executor(_) => "error",
        };
        self.requests.ended.with_label_values(&[label]).inc();
    }

    /// The client of a choice has gone.
    pub(crate) fn aborted(&self) {
        self.requests.ended.with_label_values(&["abort"]).inc();
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn render(&self, stats: &EngineStats) -> String {
        let mut families: Vec<MetricFamily> = engine_stats::llama_server(stats);
        families.extend(engine_stats::vllm(stats, self.capacity, &self.model_id));
        families.extend(self.requests.registry.gather());
        // Fails only for families without metrics, which registries do not give.
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

/// Labels that vLLM puts on everything.
fn vllm_labels(model_id: &str) -> HashMap<String, String> {
    [("model_name", model_id), ("engine", "0")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}
