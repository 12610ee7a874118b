//! What an observer sees: the inputs that the matrices are multiplied with.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use cpu::InputObserver;
use gguf::{Gguf, TensorInfo};
use quant::{Activations, Format, Isa};

use crate::{
    data,
    executor::{exact, executor},
    runner::{Sequence, generate},
};

/// Rows of inputs by tensor and matrix.
type Seen = BTreeMap<(String, usize), Vec<Vec<f32>>>;

struct Recorder(Arc<Mutex<Seen>>);

impl InputObserver for Recorder {
    fn observe(&mut self, tensor: &TensorInfo, index: usize, inputs: &Activations, rows: Range<usize>) {
        let mut seen = self.0.lock().expect("no test panicked with it");
        seen.entry((tensor.name.clone(), index)).or_default().extend(rows.map(|row| inputs.row(row).to_vec()));
    }
}

/// Everything seen while a prompt is computed.
fn observed(gguf: &Arc<Gguf>, prompt: &[u32]) -> Seen {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let mut executor = executor(gguf, exact());
    executor.observe_inputs(Box::new(Recorder(Arc::clone(&seen))));
    generate(&mut executor, Sequence::new(1, prompt, |i| i), 256, 1);
    drop(executor);
    Arc::into_inner(seen).expect("the executor is gone").into_inner().expect("no test panicked with it")
}

fn row(gguf: &Gguf, name: &str, row: usize) -> Vec<f32> {
    let tensor = gguf.tensor(name).expect("the tensor");
    let format = Format::of(tensor.ggml_type).expect("a format");
    let mut values = vec![0.0; tensor.shape[0]];
    let num_bytes = format.row_bytes(values.len());
    format.decode_row(Isa::detect(), &gguf.data(tensor)[row * num_bytes..][..num_bytes], &mut values);
    values
}

#[test]
fn the_first_matrices_see_normed_embeddings() {
    let golden = data::open("llama3_gqa.f16", "llama3_gqa").expect("this model lies in the repository");
    let ids = &golden.prompts[0].ids;
    let seen = observed(&golden.gguf, ids);
    let eps =
        golden.gguf.metadata().float("llama.attention.layer_norm_rms_epsilon").ok().flatten().expect("the epsilon");
    let scale = row(&golden.gguf, "blk.0.attn_norm.weight", 0);
    for name in ["attn_q", "attn_k", "attn_v"] {
        let found = &seen[&(format!("blk.0.{name}.weight"), 0)];
        assert_eq!(found.len(), ids.len());
        for (id, found) in ids.iter().zip(found) {
            let x = row(&golden.gguf, "token_embd.weight", *id as usize);
            let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64;
            for ((x, scale), found) in x.iter().zip(&scale).zip(found) {
                let expected = f64::from(*x) / (mean + f64::from(eps)).sqrt() * f64::from(*scale);
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{name}: {found} instead of {expected}");
            }
        }
    }
    let matrices = golden.gguf.tensors().iter().filter(|t| t.shape.len() > 1 && t.name != "token_embd.weight");
    for tensor in matrices {
        assert!(seen.contains_key(&(tensor.name.clone(), 0)), "{} was not seen", tensor.name);
    }
}

#[test]
fn experts_see_the_tokens_that_come_to_them() {
    let golden = data::open("qwen3moe.f16", "qwen3moe");
    let Some(golden) = golden else { return };
    let number = |key: &str| golden.gguf.metadata().uint(&format!("qwen3moe.{key}")).ok().flatten().expect("a number");
    let ids = &golden.prompts[1].ids;
    let seen = observed(&golden.gguf, ids);
    for name in ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"] {
        let of_layer = |(tensor, _): &(String, usize)| tensor == &format!("blk.0.{name}.weight");
        let rows: usize = seen.iter().filter(|(key, _)| of_layer(key)).map(|(_, rows)| rows.len()).sum();
        assert_eq!(rows as u64, ids.len() as u64 * number("expert_used_count"), "{name}");
        assert!(seen.keys().filter(|key| of_layer(key)).all(|(_, expert)| (*expert as u64) < number("expert_count")));
        assert!(seen.keys().filter(|key| of_layer(key)).count() > 1, "{name}: all tokens chose one expert");
    }
}
