//! Models and options that the executor refuses, and plans that it does.

use std::sync::Arc;

use cpu::{CpuExecutor, CpuOptions};
use exec::{Executor, StepPlan};
use gguf::{Builder, GgmlType, Gguf};

use crate::{
    data,
    executor::{exact, executor},
    runner::Sequence,
};

fn check(gguf: &Arc<Gguf>, options: CpuOptions, expect: &str) {
    let message =
        CpuExecutor::new(Arc::clone(gguf), options).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
}

fn llama() -> Arc<Gguf> {
    data::open("llama3_gqa.f16", "llama3_gqa").expect("this model lies in the repository").gguf
}

#[test]
fn options_out_of_range_are_named() {
    let llama = llama();
    check(&llama, exact(), "ok");
    let options = exact();
    check(&llama, CpuOptions { num_threads: 1025, ..options }, "num_threads is 1025, it must be at most 1024");
    check(&llama, CpuOptions { num_blocks: 0, ..options }, "num_blocks is 0, it must be at least 1");
    check(
        &llama,
        CpuOptions { num_blocks: 1 << 40, ..options },
        "num_blocks is 1099511627776, it must be at most 268435455",
    );
    check(&llama, CpuOptions { max_num_seqs: 0, ..options }, "max_num_seqs is 0, it must be at least 1");
    check(&llama, CpuOptions { max_num_batched_tokens: 0, ..options }, "max_num_batched_tokens is 0");
    check(&llama, CpuOptions { max_model_len: 0, ..options }, "max_model_len is 0");
}

#[test]
fn a_tensor_of_a_type_that_we_lack_is_named() {
    let llama = llama();
    let mut builder = Builder::new();
    for (key, value) in llama.metadata().iter() {
        builder = builder.value(key, value.clone());
    }
    for t in llama.tensors() {
        let integers = t.name == "blk.1.attn_k.weight";
        let (ggml_type, data) =
            if integers { (GgmlType::I8, vec![0; t.num_weights()]) } else { (t.ggml_type, llama.data(t).to_vec()) };
        builder = builder.tensor(&t.name, &t.shape, ggml_type, data);
    }
    let gguf = Arc::new(Gguf::from_bytes(builder.build()).expect("a sound GGUF"));
    check(&gguf, exact(), "tensor `blk.1.attn_k.weight`");
    check(&gguf, exact(), "I8 is not supported");
}

#[test]
fn plans_beyond_the_capacity_are_refused_and_the_next_one_works() {
    let mut executor = executor(&llama(), exact());
    let prompt: Vec<u32> = (0..20).collect();
    let plan = |seqs| StepPlan { seqs, finished: Vec::new() };
    let refused = executor.launch(plan(vec![Sequence::new(1, &prompt, |i| i + 90).step(256)]));
    assert!(refused.unwrap_err().to_string().contains("sequence 1 names block 96, the pool has 96"));
    let refused = executor.launch(plan(vec![Sequence::new(1, &[u32::MAX], |i| i).step(256)]));
    assert!(refused.unwrap_err().to_string().contains("token 4294967295"));
    assert!(executor.launch(plan(vec![Sequence::new(1, &prompt, |i| i).step(256)])).is_ok());
}
