//! Counters and histograms that requests fill in as they go, under vLLM's names.

use std::time::Duration;

use engine::{Capacity, Finished};
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::vllm_labels;
use crate::generate::Figures;

/// Seconds to the first token.
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
/// Seconds between tokens.
const BETWEEN_TOKENS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
];
/// Seconds of a whole request, or a part of it.
const REQUEST: &[f64] = &[
    0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];
const CHOICES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

/// What requests tell.
pub(super) struct Requests {
    pub(super) registry: Registry,
    pub(super) first_token: Histogram,
    pub(super) next_token: Histogram,
    pub(super) max_tokens: Histogram,
    pub(super) num_choices: Histogram,
    /// Choices by how they ended.
    pub(super) ended: IntCounterVec,
    per_output_token: Histogram,
    end_to_end: Histogram,
    queue: Histogram,
    prefill: Histogram,
    decode: Histogram,
    inference: Histogram,
    prompt_tokens: Histogram,
    generation_tokens: Histogram,
}

impl Requests {
    pub(super) fn new(model_id: &str, capacity: Capacity) -> Self {
        const NAMES: &str = "the names are literals and differ from each other";
        // The labels are given to each metric and not to the registry, which would write them in a random order.
        let (registry, labels) = (Registry::new(), vllm_labels(model_id));
        let ended = Opts::new("vllm:request_success_total", "Requests by how they ended").const_labels(labels.clone());
        let ended = IntCounterVec::new(ended, &["finished_reason"]).expect(NAMES);
        registry.register(Box::new(ended.clone())).expect(NAMES);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(format!("vllm:{name}"), help);
            let options = options.buckets(buckets.to_vec()).const_labels(labels.clone());
            let histogram = Histogram::with_opts(options).expect(NAMES);
            registry.register(Box::new(histogram.clone())).expect(NAMES);
            histogram
        };
        let seconds = |name: &str, help: &str, buckets: &[f64]| histogram(&format!("{name}_seconds"), help, buckets);
        let counts = token_buckets(capacity.max_model_len);
        Self {
            first_token: seconds("time_to_first_token", "From a request to its first token", FIRST_TOKEN),
            next_token: seconds("inter_token_latency", "From one token to the next", BETWEEN_TOKENS),
            per_output_token: seconds(
                "request_time_per_output_token",
                "Mean time of a token after the first, by request",
                BETWEEN_TOKENS,
            ),
            end_to_end: seconds("e2e_request_latency", "From a request to its last token", REQUEST),
            queue: seconds("request_queue_time", "From a request to its first step", REQUEST),
            prefill: seconds("request_prefill_time", "From the first step to the first token", REQUEST),
            decode: seconds("request_decode_time", "From the first token to the last", REQUEST),
            inference: seconds("request_inference_time", "From the first step to the last token", REQUEST),
            prompt_tokens: histogram("request_prompt_tokens", "Tokens of prompts", &counts),
            generation_tokens: histogram("request_generation_tokens", "Tokens of answers", &counts),
            max_tokens: histogram("request_params_max_tokens", "Tokens that were asked for at most", &counts),
            num_choices: histogram("request_params_n", "Choices that were asked for", CHOICES),
            ended,
            registry,
        }
    }

    /// A text is embedded, so long after its request. It counts as one that came to its own end, with no tokens of an
    /// answer.
    pub(super) fn embedded(&self, finished: &Finished, after: Duration) {
        self.ended.with_label_values(&["stop"]).inc();
        self.end_to_end.observe(after.as_secs_f64());
        self.queue.observe(finished.queue_time.as_secs_f64());
        self.prefill.observe(finished.prefill_time.as_secs_f64());
        self.inference.observe(finished.prefill_time.as_secs_f64());
        self.prompt_tokens.observe(finished.num_prompt_tokens as f64);
    }

    /// A choice is complete, so long after its request.
    pub(super) fn finished(&self, finish_reason: &str, figures: &Figures, after: Duration) {
        self.ended.with_label_values(&[finish_reason]).inc();
        self.end_to_end.observe(after.as_secs_f64());
        self.queue.observe(figures.queue_time.as_secs_f64());
        self.prefill.observe(figures.prefill_time.as_secs_f64());
        self.decode.observe(figures.decode_time.as_secs_f64());
        self.inference.observe((figures.prefill_time + figures.decode_time).as_secs_f64());
        self.prompt_tokens.observe(figures.num_prompt as f64);
        self.generation_tokens.observe(figures.num_generated as f64);
        if figures.num_generated > 1 {
            let num_gaps = (figures.num_generated - 1) as f64;
            self.per_output_token.observe(figures.decode_time.as_secs_f64() / num_gaps);
        }
    }
}

/// 1, 2, 5, 10, ... up to the context.
fn token_buckets(max_model_len: usize) -> Vec<f64> {
    let powers = (0..12).map(|exponent| 10_f64.powi(exponent));
    powers.flat_map(|p| [p, 2.0 * p, 5.0 * p]).take_while(|n| *n <= max_model_len.max(1) as f64).collect()
}
