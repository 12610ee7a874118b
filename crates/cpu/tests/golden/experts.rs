//! Experts against dense blocks that must give the same: equal experts, and the expert that every token passes.

use std::sync::Arc;

use gguf::{Builder, Gguf, Value};

use crate::{
    data,
    executor::{exact, executor},
    runner::{Sequence, generate},
};

const HIDDEN: usize = 32;
const SIZE: usize = 48;
const VOCAB: usize = 40;
const EXPERTS: usize = 4;

/// Numbers between -1 and 1 that depend on `seed` alone.
fn random(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

/// A model of one layer without its feed-forward block.
fn attention(arch: &str) -> Builder {
    let key = |key: &str| format!("{arch}.{key}");
    let mut builder = Builder::new().value("general.architecture", Value::String(arch.to_owned()));
    for (name, size) in [
        ("embedding_length", HIDDEN),
        ("block_count", 1),
        ("feed_forward_length", SIZE),
        ("context_length", 256),
        ("attention.head_count", 2),
    ] {
        builder = builder.value(&key(name), Value::Uint(size as u64));
    }
    builder = builder.value(&key("attention.layer_norm_rms_epsilon"), Value::Float(1e-5));
    let ones = vec![1.0; HIDDEN];
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        builder = builder.tensor_f32(&format!("{name}.weight"), &[HIDDEN], &ones);
    }
    let square = [HIDDEN, HIDDEN];
    for (seed, name) in (1..).zip(["attn_q", "attn_k", "attn_v", "attn_output"]) {
        builder = builder.tensor_f32(&format!("blk.0.{name}.weight"), &square, &random(seed, HIDDEN * HIDDEN));
    }
    builder.tensor_f32("token_embd.weight", &[HIDDEN, VOCAB], &random(5, HIDDEN * VOCAB))
}

/// The matrices gate, up and down of the block that all models here have, down times `scale`.
fn matrices(scale: f32) -> [(&'static str, [usize; 2], Vec<f32>); 3] {
    let down = random(8, SIZE * HIDDEN).iter().map(|x| x * scale).collect();
    [
        ("gate", [HIDDEN, SIZE], random(6, HIDDEN * SIZE)),
        ("up", [HIDDEN, SIZE], random(7, HIDDEN * SIZE)),
        ("down", [SIZE, HIDDEN], down),
    ]
}

/// A dense model with down times `scale`.
fn dense(arch: &str, scale: f32) -> Builder {
    matrices(scale).into_iter().fold(attention(arch), |builder, (name, shape, values)| {
        builder.tensor_f32(&format!("blk.0.ffn_{name}.weight"), &shape, &values)
    })
}

/// A model whose experts are all the dense block with down times `scale`; the router finds them equally good.
fn equal_experts(arch: &str, num_used: u64, scale: f32) -> Builder {
    let mut builder = attention(arch).value(&format!("{arch}.expert_count"), Value::Uint(EXPERTS as u64));
    builder = builder.value(&format!("{arch}.expert_used_count"), Value::Uint(num_used));
    builder = builder.value(&format!("{arch}.expert_feed_forward_length"), Value::Uint(SIZE as u64));
    builder = builder.tensor_f32("blk.0.ffn_gate_inp.weight", &[HIDDEN, EXPERTS], &random(9, HIDDEN).repeat(EXPERTS));
    matrices(scale).into_iter().fold(builder, |builder, (name, [cols, rows], values)| {
        let values = values.repeat(EXPERTS);
        builder.tensor_f32(&format!("blk.0.ffn_{name}_exps.weight"), &[cols, rows, EXPERTS], &values)
    })
}

/// Logits of a prompt.
fn logits(model: &Builder) -> Vec<f32> {
    let gguf = Arc::new(Gguf::from_bytes(model.build()).expect("a sound file"));
    let prompt: Vec<u32> = (0..9).map(|i| i * 7 % VOCAB as u32).collect();
    generate(&mut executor(&gguf, exact()), Sequence::new(1, &prompt, |i| i), 256, 1).0
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 2e-5 * (1.0 + expected.abs()), "{found}, expected {expected}");
    }
}

#[test]
fn equal_experts_are_a_dense_block() {
    let expected = logits(&dense("llama", 1.0));
    for num_used in 1..=EXPERTS as u64 {
        assert_near(&logits(&equal_experts("llama", num_used, 1.0)), &expected);
    }
    // It is the feed-forward block that is compared.
    let other = logits(&dense("llama", 0.5));
    assert!(other.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 0.1), "{other:?}");
}

#[test]
fn experts_in_tensors_of_their_own_are_those_in_one() {
    let mixtral = |stacked: bool| {
        let mut model = attention("llama").value("llama.expert_count", Value::Uint(EXPERTS as u64));
        model = model.value("llama.expert_used_count", Value::Uint(2));
        model = model.tensor_f32("blk.0.ffn_gate_inp.weight", &[HIDDEN, EXPERTS], &random(9, HIDDEN * EXPERTS));
        for (seed, (name, [cols, rows])) in
            (10..).zip([("gate", [HIDDEN, SIZE]), ("up", [HIDDEN, SIZE]), ("down", [SIZE, HIDDEN])])
        {
            let values = random(seed, cols * rows * EXPERTS);
            model = if stacked {
                model.tensor_f32(&format!("blk.0.ffn_{name}_exps.weight"), &[cols, rows, EXPERTS], &values)
            } else {
                values.chunks_exact(cols * rows).enumerate().fold(model, |model, (expert, values)| {
                    model.tensor_f32(&format!("blk.0.ffn_{name}.{expert}.weight"), &[cols, rows], values)
                })
            };
        }
        model
    };
    assert_eq!(logits(&mixtral(false)), logits(&mixtral(true)));
}

#[test]
fn weights_that_are_not_normalized_are_probabilities_and_the_shared_expert_adds() {
    // Three experts of probability 1/4, and half of the shared one: its dot product with any token is zero.
    for (experts, shared, total) in [(1.0, 0.0, 0.75), (0.0, 1.0, 0.5), (1.0, -2.0, -0.25)] {
        let mut model = equal_experts("qwen2moe", 3, experts);
        model = model.value("qwen2moe.expert_shared_feed_forward_length", Value::Uint(SIZE as u64));
        model = model.tensor_f32("blk.0.ffn_gate_inp_shexp.weight", &[HIDDEN], &[0.0; HIDDEN]);
        for (name, shape, values) in matrices(shared) {
            model = model.tensor_f32(&format!("blk.0.ffn_{name}_shexp.weight"), &shape, &values);
        }
        assert_near(&logits(&model), &logits(&dense("qwen2", total)));
    }
}

#[test]
fn chunks_and_threads_change_nothing() {
    for model in ["qwen3moe.f16", "quantized/qwen3moe.q4_k_m"] {
        let Some(golden) = data::open(model, model.trim_end_matches(".f16")) else { continue };
        for precision in [cpu::Precision::Exact, cpu::Precision::Int8] {
            let options = cpu::CpuOptions { precision, ..exact() };
            for prompt in &golden.prompts {
                let answer = |options, chunk| {
                    let sequence = Sequence::new(1, &prompt.ids, |i| i);
                    generate(&mut executor(&golden.gguf, options), sequence, chunk, 32)
                };
                let expected = answer(options, 256);
                for chunk in [1, 5, 23] {
                    assert!(answer(options, chunk) == expected, "{model}: chunks of {chunk} change the answer");
                }
                let one_thread = cpu::CpuOptions { num_threads: 1, ..options };
                assert!(answer(one_thread, 256) == expected, "{model}: one thread changes the answer");
            }
        }
    }
}
