//! Speeds that follow from bytes and operations. Predictions: nothing is run.

use super::{
    gpu::Gpu,
    shape::{Shape, Weights},
};

/// Seconds of a step beside its layers: embedding, logits' launches, sampling.
const STEP_TIME: f64 = 60e-6;

/// Tokens a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    /// One user alone.
    pub(crate) decode_one: f64,
    /// All users in sum.
    pub(crate) decode_all: f64,
    /// A long prompt.
    pub(crate) prompt: f64,
}

impl Speed {
    /// The speed for `users` at once with `context` tokens each.
    pub(crate) fn predict(gpu: &Gpu, shape: &Shape, weights: Weights, kv: (u64, usize), users: usize) -> Self {
        let step = |users: usize| step_time(gpu, shape, weights, kv, users);
        let operations = 2.0 * shape.active_weights();
        Self {
            decode_one: 1.0 / step(1),
            decode_all: users as f64 / step(users),
            prompt: gpu.peak * gpu.shares.peak_prompt / operations,
        }
    }
}

/// Seconds in which each of `users` gets a token: weights are read once for all, keys and values for each.
fn step_time(gpu: &Gpu, shape: &Shape, weights: Weights, kv: (u64, usize), users: usize) -> f64 {
    let (block_bytes, context) = kv;
    let read = weights.dense_bytes as f64 + weights.expert_bytes as f64 * shape.experts_passed(users);
    let share = if users == 1 { gpu.shares.weights_one } else { gpu.shares.weights_batch };
    let multiply = match users {
        1 => 0.0,
        n => n as f64 * 2.0 * shape.active_weights() / (gpu.peak * gpu.shares.peak_decode),
    };
    let kv_read = users as f64 * shape.kv_read_bytes(block_bytes, context) / (gpu.bandwidth * gpu.shares.kv);
    read / (gpu.bandwidth * share) + multiply + kv_read + gpu.layer_time * shape.spec.layers.len() as f64 + STEP_TIME
}
