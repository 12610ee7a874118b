//! Logits and greedy continuations against the golden files.

use cpu::{CpuOptions, Isa, KvType, Precision};

use crate::{
    bounds::Bound,
    data::{self, Golden, Prompt},
    executor::{exact, executor},
    runner::{Sequence, generate, run},
};

/// The exact path differs from the golden file in the order of its sums alone.
const EXACT: &str = "exact";
/// Half-precision keys and values.
const F16_KV: &str = "f16 keys and values";
/// 8-bit activations with a scale for every sixteen.
const INT8: &str = "int8 activations";

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "two rows of logits");
    // `max` would drop a NaN.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

/// Logits after every prompt and all greedy tokens.
fn check_exact(golden: &Golden) {
    let mut executor = executor(&golden.gguf, exact());
    let bound = Bound::of("cpu", EXACT);
    for prompt in &golden.prompts {
        let (logits, ids) = generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), 256, prompt.greedy_ids.len());
        bound.check(golden.name, largest_difference(&logits, &prompt.last_logits));
        assert_eq!(ids, prompt.greedy_ids, "{}: greedy continuation", golden.name);
        check_every_position(golden, prompt, bound);
    }
}

/// The 20 largest logits at every position of a prompt.
fn check_every_position(golden: &Golden, prompt: &Prompt, bound: Bound) {
    let mut executor = executor(&golden.gguf, exact());
    for len in 1..=prompt.ids.len() {
        // Of a chunk of one token, the logits are those of that position.
        let mut sequence = Sequence::new(1, &prompt.ids[..len], |i| i);
        if len > 1 {
            sequence.step(len - 1);
        }
        let logits = run(&mut executor, vec![sequence.step(1)]).swap_remove(0).logits.expect("asked for");
        for i in (len - 1) * 20..len * 20 {
            let difference = (logits[prompt.top_ids[i] as usize] - prompt.top_logits[i]).abs();
            assert!(difference <= bound.value, "{}: position {len}, logits differ by {difference}", golden.name);
        }
    }
}

/// Logits after every prompt on a faster path.
fn check_logits(golden: &Golden, options: CpuOptions, way: &'static str) {
    let mut executor = executor(&golden.gguf, options);
    let bound = Bound::of("cpu", way);
    for prompt in &golden.prompts {
        let (logits, _) = generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), 256, 1);
        bound.check(golden.name, largest_difference(&logits, &prompt.last_logits));
    }
}

/// A model with float weights.
fn check_float_model(model: &'static str, golden: &str) {
    let Some(golden) = data::open(model, golden) else { return };
    check_exact(&golden);
    check_logits(&golden, CpuOptions { kv_type: KvType::F16, ..exact() }, F16_KV);
}

/// A model with quantized weights.
fn check_quantized_model(model: &'static str) {
    let Some(golden) = data::open(model, model.trim_end_matches(".f16")) else { return };
    check_exact(&golden);
    for isa in Isa::available() {
        check_logits(&golden, CpuOptions { precision: Precision::Int8, isa, ..exact() }, INT8);
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
    gemma("gemma", "gemma");
    gemma4("gemma4", "gemma4");
    gemma4_dense("gemma4_dense", "gemma4_dense");
    phi3_long("phi3_long", "phi3_long");
    granitemoe("granitemoe", "granitemoe");
    gemma4_moe("gemma4_moe", "gemma4_moe");
    llama_linear("llama_linear", "llama_linear");
    llama3_rope("llama3_rope", "llama3_rope");
    llama_yarn("llama_yarn", "llama_yarn");
    mixtral("mixtral", "mixtral");
    qwen2moe("qwen2moe", "qwen2moe");
    exaone("exaone", "exaone");
    phi4_mini("phi4_mini", "phi4_mini");
    olmo2("olmo2", "olmo2");
    olmo3("olmo3", "olmo3");
    stablelm("stablelm", "stablelm");
    stablelm_parallel("stablelm_parallel", "stablelm_parallel");
    falcon("falcon", "falcon");
    falcon_two_norms("falcon_two_norms", "falcon_two_norms");
    gpt2("gpt2", "gpt2");
    starcoder("starcoder", "starcoder");
    gptneox("gptneox", "gptneox");
    olmoe("olmoe", "olmoe");
    seed_oss("seed_oss", "seed_oss");
    starcoder2("starcoder2", "starcoder2");
    command_r("command_r", "command_r");
    cohere2("cohere2", "cohere2");
    glm4("glm4", "glm4");
    smollm3("smollm3", "smollm3");
    exaone4("exaone4", "exaone4");
    ministral3("ministral3", "ministral3");
    deepseek2("deepseek2", "deepseek2");
    deepseek3("deepseek3", "deepseek3");
    llama4("llama4", "llama4");
}

golden_tests! { check_quantized_model:
    q4_0("quantized/qwen3.q4_0");
    q4_k_m("quantized/qwen3.q4_k_m");
    q5_k_m("quantized/qwen3.q5_k_m");
    q6_k("quantized/qwen3.q6_k");
    q8_0("quantized/qwen3.q8_0");
    q2_k("quantized/qwen3.q2_k");
    q3_k_m("quantized/qwen3.q3_k_m");
    iq2_xs("quantized/qwen3.iq2_xs");
    iq3_xxs("quantized/qwen3.iq3_xxs");
    iq4_xs("quantized/qwen3.iq4_xs");
    moe_q4_k_m("quantized/qwen3moe.q4_k_m");
    gpt_oss("gptoss.f16");
    nvfp4("qwen3_nvfp4");
    moe_nvfp4("qwen3moe_nvfp4");
    gemma4_moe_q8_0("gemma4_moe_q8_0");
    mla_q8_0("mla_q8_0");
    deepseek3_q8_0("deepseek3_q8_0");
    llama4_q8_0("llama4_q8_0");
    olmoe_q4_0("olmoe_q4_0");
}
