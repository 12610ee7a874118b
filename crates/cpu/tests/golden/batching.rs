//! What must not change an answer: chunks, batches, block tables, threads, instruction sets. Not by a bit.

use cpu::{CpuOptions, Isa, KvType, Precision};

use crate::{
    data::{self, Golden},
    executor::{exact, executor},
    runner::{NUM_BLOCKS, Sequence, generate, generate_together},
};

/// The fast path of a quantized model with half-precision keys: what users run.
fn fast() -> CpuOptions {
    CpuOptions { precision: Precision::Int8, kv_type: KvType::F16, ..exact() }
}

fn models() -> [Golden; 2] {
    [("llama3_gqa.f16", "llama3_gqa"), ("quantized/qwen3.q4_k_m", "quantized/qwen3.q4_k_m")]
        .map(|(model, golden)| data::open(model, golden).expect("this model lies in the repository"))
}

/// Models that have all other kinds of layers between them.
fn other_kinds() -> impl Iterator<Item = Golden> {
    ["deepseek3", "gemma4", "llama4", "gpt2", "stablelm_parallel", "falcon_two_norms", "olmo3", "ministral3"]
        .into_iter()
        .map(|name| data::open(name, name).expect("this model lies in the repository"))
}

/// A permutation of the pool's blocks.
fn scattered(i: usize) -> usize {
    (i * 37 + 11) % NUM_BLOCKS
}

#[test]
fn chunks_blocks_threads_and_instructions_change_nothing() {
    for golden in models() {
        for options in [exact(), fast()] {
            for prompt in &golden.prompts {
                let plain = Sequence::new(1, &prompt.ids, |i| i);
                let expected = generate(&mut executor(&golden.gguf, options), plain.clone(), 256, 32);
                let check = |options: CpuOptions, sequence: &Sequence, chunk: usize, what: &str| {
                    let found = generate(&mut executor(&golden.gguf, options), sequence.clone(), chunk, 32);
                    assert!(found == expected, "{}: {what} changes the answer", golden.name);
                };
                for chunk in [1, 5, 16, 23] {
                    check(options, &plain, chunk, "chunking");
                }
                check(options, &Sequence::new(9, &prompt.ids, scattered), 7, "a scattered block table");
                for num_threads in [1, 2, 3] {
                    check(CpuOptions { num_threads, ..options }, &plain, 256, "the number of threads");
                }
                for isa in Isa::available().into_iter().rev().skip(usize::from(prompt.ids.len() > 8)) {
                    check(CpuOptions { isa, ..options }, &plain, 256, isa.name());
                }
            }
        }
    }
}

#[test]
fn other_kinds_of_layers_neither() {
    for golden in other_kinds() {
        let mut executor = executor(&golden.gguf, exact());
        let alone: Vec<_> = golden
            .prompts
            .iter()
            .map(|prompt| generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), 256, 32))
            .collect();
        for (prompt, expected) in golden.prompts.iter().zip(&alone) {
            let found = generate(&mut executor, Sequence::new(9, &prompt.ids, scattered), 7, 32);
            assert!(found == *expected, "{}: chunks and a scattered block table change the answer", golden.name);
        }
        let prompts: Vec<_> = golden.prompts.iter().map(|prompt| &prompt.ids[..]).collect();
        let found = generate_together(&mut executor, &prompts, 32);
        assert!(found.iter().eq(alone.iter().map(|(_, ids)| ids)), "{}: others change the answer", golden.name);
    }
}

#[test]
fn other_sequences_change_nothing() {
    for golden in models() {
        for options in [exact(), fast()] {
            let mut executor = executor(&golden.gguf, options);
            let alone = golden
                .prompts
                .iter()
                .map(|prompt| generate(&mut executor, Sequence::new(1, &prompt.ids, |i| i), 256, 32).1);
            let expected: Vec<_> = alone.collect();
            // Twice each prompt.
            let prompts: Vec<_> = golden.prompts.iter().chain(&golden.prompts).map(|prompt| &prompt.ids[..]).collect();
            let found = generate_together(&mut executor, &prompts, 32);
            for (s, found) in found.iter().enumerate() {
                assert_eq!(found, &expected[s % 3], "{}: sequence {s} beside others", golden.name);
            }
        }
    }
}
