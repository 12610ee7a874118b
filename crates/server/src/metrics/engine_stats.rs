//! The engine's counters under both sets of names, read when someone asks.

use std::collections::HashMap;

use engine::{Capacity, EngineStats};
use prometheus::{Counter, Gauge, Opts, Registry, core::Collector, proto::MetricFamily};

use super::vllm_labels;

const NAMES: &str = "the names are literals and differ from each other";
/// Tokens in a block.
const BLOCK_SIZE: usize = types::BLOCK_SIZE;

/// Metrics that are made for one answer: the values of a snapshot.
struct Snapshot {
    registry: Registry,
    prefix: &'static str,
    labels: HashMap<String, String>,
}

impl Snapshot {
    fn counter(&self, name: &str, help: &str, value: f64) {
        let counter = Counter::with_opts(self.options(name, help)).expect(NAMES);
        counter.inc_by(value);
        self.add(counter);
    }

    fn gauge(&self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::with_opts(self.options(name, help)).expect(NAMES);
        gauge.set(value);
        self.add(gauge);
    }

    fn options(&self, name: &str, help: &str) -> Opts {
        Opts::new(format!("{}:{name}", self.prefix), help).const_labels(self.labels.clone())
    }

    fn add(&self, metric: impl Collector + 'static) {
        self.registry.register(Box::new(metric)).expect(NAMES);
    }
}

/// llama-server's names.
pub(super) fn llama_server(stats: &EngineStats) -> Vec<MetricFamily> {
    let all = Snapshot { registry: Registry::new(), prefix: "llamacpp", labels: HashMap::new() };
    let (prompt_seconds, seconds) = (stats.prefill_time.as_secs_f64(), stats.decode_time.as_secs_f64());
    all.counter("prompt_tokens_total", "Prompt tokens computed", stats.prompt_tokens as f64);
    all.counter("prompt_tokens_cached_total", "Prompt tokens found in the cache", stats.prefix_hits as f64);
    all.counter("prompt_seconds_total", "Time of steps with prompt tokens", prompt_seconds);
    all.counter("tokens_predicted_total", "Tokens generated", stats.generated_tokens as f64);
    all.counter("tokens_predicted_seconds_total", "Time of steps that only generated", seconds);
    all.counter("n_decode_total", "Steps", stats.num_steps as f64);
    all.counter("n_tokens_max", "Tokens of the longest sequence seen", stats.max_seq_tokens as f64);
    let prompt_speed = ratio(stats.prompt_tokens as f64, prompt_seconds);
    all.gauge("prompt_tokens_seconds", "Mean speed of prompts, in tokens a second", prompt_speed);
    let speed = ratio(stats.generated_tokens as f64, seconds);
    all.gauge("predicted_tokens_seconds", "Mean speed of generation, in tokens a second", speed);
    all.gauge("requests_processing", "Requests that run", stats.num_running as f64);
    all.gauge("requests_deferred", "Requests that wait", stats.num_waiting as f64);
    let busy = ratio(stats.busy_seqs as f64, stats.num_steps as f64);
    all.gauge("n_busy_slots_per_decode", "Mean number of sequences in a step", busy);
    all.registry.gather()
}

/// vLLM's names.
pub(super) fn vllm(stats: &EngineStats, capacity: Capacity, model_id: &str) -> Vec<MetricFamily> {
    let all = Snapshot { registry: Registry::new(), prefix: "vllm", labels: vllm_labels(model_id) };
    all.gauge("num_requests_running", "Requests that run", stats.num_running as f64);
    all.gauge("num_requests_waiting", "Requests that wait", stats.num_waiting as f64);
    let usage = ratio(stats.num_used_blocks as f64, stats.num_blocks as f64);
    all.gauge("kv_cache_usage_perc", "Share of the KV blocks in use, 1 is all", usage);
    all.counter("prefix_cache_queries_total", "Prompt tokens looked up in the cache", stats.prefix_queries as f64);
    all.counter("prefix_cache_hits_total", "Prompt tokens found in the cache", stats.prefix_hits as f64);
    all.counter("num_preemptions_total", "Sequences preempted", stats.num_preemptions as f64);
    let prompt_tokens = stats.prompt_tokens + stats.prefix_hits;
    all.counter("prompt_tokens_total", "Prompt tokens computed or found in the cache", prompt_tokens as f64);
    all.counter("prompt_tokens_cached_total", "Prompt tokens found in the cache", stats.prefix_hits as f64);
    all.counter("generation_tokens_total", "Tokens generated", stats.generated_tokens as f64);
    let info = all
        .options("cache_config_info", "How the KV cache is set up")
        .const_label("block_size", BLOCK_SIZE.to_string())
        .const_label("num_gpu_blocks", capacity.pools.first().num_blocks.to_string());
    let info = Gauge::with_opts(info).expect(NAMES);
    info.set(1.0);
    all.add(info);
    all.registry.gather()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
