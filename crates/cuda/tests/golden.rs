//! Whole models on the GPU against what `transformers` computes for them, alone and in batches.

use cuda::{CudaExecutor, CudaOptions, KvType, LoneToken};

use crate::{
    bounds::Bound,
    data::{self, Golden},
    runner::{NUM_BLOCKS, Sequence, generate, generate_together},
    support::has_gpu,
};

/// Weights and inputs of products in f16, keys and values too: 11 bits of mantissa in each.
const F16: &str = "f16";
/// The same with quantized weights, which the tensor cores get rounded to f16: their scales and values lose bits too.
const F16_WEIGHTS: &str = "f16, quantized weights";
/// Int8 inputs with a scale per 32, as one token alone has them.
const INT8: &str = "int8 activations";
/// Int8 keys and values on top of f16.
const Q8_KV: &str = "q8_0 keys and values";

fn options() -> CudaOptions {
    CudaOptions {
        num_blocks: Some(NUM_BLOCKS),
        max_num_seqs: 8,
        max_num_batched_tokens: 256,
        max_model_len: 256,
        ..CudaOptions::default()
    }
}

fn executor(golden: &Golden, options: CudaOptions) -> CudaExecutor {
    CudaExecutor::new(&golden.gguf, options, &mut |_| {}).expect("a model that the GPU takes")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "two rows of logits");
    // `max` would drop a NaN.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

/// Logits after every prompt, computed in chunks of so many tokens.
fn check_logits(golden: &Golden, options: CudaOptions, chunk: usize, way: &'static str) {
    let bound = Bound::of("cuda", way);
    let mut executor = executor(golden, options);
    for prompt in &golden.prompts {
        let (logits, _) = generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), chunk, 1);
        bound.check(golden.name, largest_difference(&logits, &prompt.last_logits));
    }
}

/// Greedy continuations with and without captured graphs.
fn check_greedy(golden: &Golden) {
    for use_graphs in [true, false] {
        let mut executor = executor(golden, CudaOptions { use_graphs, ..options() });
        for prompt in &golden.prompts {
            let num_tokens = prompt.greedy_ids.len();
            let (_, ids) = generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), 256, num_tokens);
            assert_eq!(ids, prompt.greedy_ids, "{}, graphs {use_graphs}: greedy continuation", golden.name);
        }
    }
}

fn check_float_model(model: &'static str, golden: &str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, golden) else { return };
    for chunk in [256, 7, 1] {
        check_logits(&golden, options(), chunk, F16);
    }
    check_greedy(&golden);
}

fn check_quantized_model(model: &'static str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, model) else { return };
    check_quantized_weights(&golden);
    check_logits(&golden, CudaOptions { kv_type: KvType::Q8_0, ..options() }, 256, Q8_KV);
}

/// Several tokens are multiplied in f16, one alone in int8.
fn check_quantized_weights(golden: &Golden) {
    check_logits(golden, options(), 256, F16_WEIGHTS);
    check_logits(golden, options(), 1, INT8);
    check_logits(golden, CudaOptions { lone_token: LoneToken::AsInBatch, ..options() }, 1, F16_WEIGHTS);
}

/// A model whose heads are too small for q8_0's blocks.
fn check_quantized_tiny(model: &'static str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, model) else { return };
    check_quantized_weights(&golden);
}

/// A tiny model of an architecture: its continuations are too close to others for f16.
fn check_logits_alone(model: &'static str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, model) else { return };
    for chunk in [256, 7, 1] {
        check_logits(&golden, options(), chunk, F16);
    }
    check_logits(&golden, CudaOptions { use_graphs: false, ..options() }, 1, F16);
}

/// A model with quantized experts or heads: they get int8 inputs for any number of tokens.
fn check_quantized_experts(model: &'static str, golden: &str) {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open(model, golden) else { return };
    for chunk in [256, 7, 1] {
        check_logits(&golden, options(), chunk, INT8);
        check_logits(&golden, CudaOptions { lone_token: LoneToken::AsInBatch, ..options() }, chunk, INT8);
    }
}

macro_rules! golden_tests {
    ($check:ident: $($test:ident($($file:literal),+);)*) => {
        $(#[test] fn $test() { $check($($file),+); })*
    };
}

golden_tests! { check_float_model:
    llama3_gqa("llama3_gqa.f16", "llama3_gqa");
    llama_spm_tied("llama_spm_tied.f16", "llama_spm_tied");
    mistral("mistral.f16", "mistral");
    stories260k_f16("stories260k.f16", "stories260k");
    stories260k_f32("stories260k.f32", "stories260k");
    qwen2("qwen2.f16", "qwen2");
    qwen3("qwen3.f16", "qwen3");
    qwen3moe("qwen3moe.f16", "qwen3moe");
    gemma2("gemma2.f16", "gemma2");
    gemma3("gemma3.f16", "gemma3");
    phi3("phi3.f16", "phi3");
    granite("granite.f16", "granite");
}

golden_tests! { check_logits_alone:
    gemma("gemma");
    gemma4("gemma4");
    gemma4_dense("gemma4_dense");
    phi3_long("phi3_long");
    granitemoe("granitemoe");
    llama_linear("llama_linear");
    llama3_rope("llama3_rope");
    llama_yarn("llama_yarn");
    mixtral("mixtral");
    qwen2moe("qwen2moe");
    exaone("exaone");
    phi4_mini("phi4_mini");
    olmo2("olmo2");
    olmo3("olmo3");
    stablelm("stablelm");
    stablelm_parallel("stablelm_parallel");
    falcon("falcon");
    falcon_two_norms("falcon_two_norms");
    gpt2("gpt2");
    starcoder2("starcoder2");
    command_r("command_r");
    cohere2("cohere2");
    glm4("glm4");
    smollm3("smollm3");
    exaone4("exaone4");
    ministral3("ministral3");
    deepseek2("deepseek2");
    deepseek3("deepseek3");
    llama4("llama4");
    starcoder("starcoder");
    gptneox("gptneox");
    olmoe("olmoe");
    seed_oss("seed_oss");
    gemma4_moe("gemma4_moe");
}

golden_tests! { check_quantized_model:
    q2_k("quantized/qwen3.q2_k");
    q3_k_m("quantized/qwen3.q3_k_m");
    iq2_xs("quantized/qwen3.iq2_xs");
    iq3_xxs("quantized/qwen3.iq3_xxs");
    iq4_xs("quantized/qwen3.iq4_xs");
    q4_0("quantized/qwen3.q4_0");
    q4_k_m("quantized/qwen3.q4_k_m");
    q5_k_m("quantized/qwen3.q5_k_m");
    q6_k("quantized/qwen3.q6_k");
    q8_0("quantized/qwen3.q8_0");
}

golden_tests! { check_quantized_tiny:
    nvfp4("qwen3_nvfp4");
}

golden_tests! { check_quantized_experts:
    moe_q4_k_m("quantized/qwen3moe.q4_k_m", "quantized/qwen3moe.q4_k_m");
    gpt_oss("gptoss.f16", "gptoss");
    moe_nvfp4("qwen3moe_nvfp4", "qwen3moe_nvfp4");
    gemma4_moe_q8_0("gemma4_moe_q8_0", "gemma4_moe_q8_0");
    mla_q8_0("mla_q8_0", "mla_q8_0");
    deepseek3_q8_0("deepseek3_q8_0", "deepseek3_q8_0");
    llama4_q8_0("llama4_q8_0", "llama4_q8_0");
    olmoe_q4_0("olmoe_q4_0", "olmoe_q4_0");
}

/// Six sequences in chunks of their own sizes, so that prefills and decodes mix, over scattered blocks.
#[test]
fn other_sequences_change_no_text() {
    if !has_gpu() {
        return;
    }
    for model in ["llama3_gqa", "qwen3", "qwen3moe", "gemma2", "gemma3", "mistral", "phi3", "granite"] {
        let file: &'static str = format!("{model}.f16").leak();
        let Some(golden) = data::open(file, model) else { continue };
        let mut executor = executor(&golden, options());
        let twice = || golden.prompts.iter().chain(&golden.prompts);
        let prompts: Vec<_> = twice().map(|prompt| &prompt.ids[..]).collect();
        for (s, (found, prompt)) in generate_together(&mut executor, &prompts, 32).iter().zip(twice()).enumerate() {
            assert_eq!(*found, prompt.greedy_ids, "{model}: sequence {s} beside others");
        }
    }
}

#[test]
fn reruns_are_equal_to_the_bit() {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open("quantized/qwen3.q4_k_m", "quantized/qwen3.q4_k_m") else { return };
    let once = || {
        let mut executor = executor(&golden, options());
        let answer = |p: &data::Prompt| generate(&mut executor, Sequence::new(1, &p.ids, |i| i), 64, 32);
        golden.prompts.iter().map(answer).collect::<Vec<_>>()
    };
    assert!(once() == once(), "logits or tokens differ between two runs");
}

#[test]
fn what_does_not_fit_is_refused_with_advice() {
    if !has_gpu() {
        return;
    }
    let Some(golden) = data::open("llama3_gqa.f16", "llama3_gqa") else { return };
    let options = CudaOptions { num_blocks: Some(200_000_000), ..options() };
    let error = CudaExecutor::new(&golden.gguf, options, &mut |_| {}).err().expect("too many blocks").to_string();
    assert!(error.contains("lacks") && error.contains("--ctx-size"), "{error}");
}
