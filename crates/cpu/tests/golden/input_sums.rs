//! Sums of squares of the inputs that the matrices are multiplied with.

use std::sync::Arc;

use exec::Executor;
use gguf::Gguf;
use quant::{Format, Isa};
use types::InputSums;

use crate::{
    data,
    executor::{exact, executor},
    runner::{Sequence, generate},
};

/// What is summed while a prompt is computed.
fn observed(gguf: &Arc<Gguf>, prompt: &[u32]) -> InputSums {
    let mut executor = executor(gguf, exact());
    executor.observe_inputs().expect("room for sums");
    generate(&mut executor, Sequence::new(1, prompt, |i| i), 256, 1);
    let sums = executor.take_input_sums().expect("no device fails").expect("sums");
    assert_eq!(executor.take_input_sums().ok().flatten(), Some(InputSums::default()), "what is taken is gone");
    sums
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
    let mut expected = vec![0.0; scale.len()];
    for id in ids {
        let x = row(&golden.gguf, "token_embd.weight", *id as usize);
        let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64;
        for ((x, scale), expected) in x.iter().zip(&scale).zip(&mut expected) {
            *expected += (f64::from(*x) / (mean + f64::from(eps)).sqrt() * f64::from(*scale)).powi(2);
        }
    }
    for name in ["attn_q", "attn_k", "attn_v"] {
        let found = seen.get(&format!("blk.0.{name}.weight")).expect("every matrix is seen");
        assert_eq!((found.num_columns, &found.counts[..]), (scale.len(), &[ids.len() as u64][..]));
        for (found, expected) in found.squares.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5 * expected.max(1.0), "{name}: {found} instead of {expected}");
        }
    }
    let matrices = golden.gguf.tensors().iter().filter(|t| t.shape.len() > 1 && t.name != "token_embd.weight");
    for tensor in matrices {
        assert!(seen.get(&tensor.name).is_some(), "{} was not seen", tensor.name);
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
        let counts = &seen.get(&format!("blk.0.{name}.weight")).expect("experts are seen").counts;
        assert_eq!(counts.iter().sum::<u64>(), ids.len() as u64 * number("expert_used_count"), "{name}");
        assert_eq!(counts.len() as u64, number("expert_count"), "{name}");
        assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{name}: all tokens chose one expert");
    }
}
