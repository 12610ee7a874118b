//! Hidden states on the GPU: of encoders and decoders against the golden files.

use cuda::{CudaExecutor, CudaOptions, KvType};
use exec::{Executor, HiddenRows, SeqStep, Wanted};
use gguf::Gguf;
use safetensors::SafeTensors;

use crate::{
    bounds::Bound,
    data,
    runner::{NUM_BLOCKS, Sequence, run_step},
    support::has_gpu,
};

/// Weights and inputs of products in f16, keys and values too.
const F16: &str = "hidden states, f16";
/// Int8 keys and values on top of it.
const Q8_KV: &str = "hidden states, q8_0 keys and values";

fn executor(gguf: &Gguf, options: CudaOptions) -> CudaExecutor {
    let sizes = CudaOptions {
        num_blocks: Some(NUM_BLOCKS),
        max_num_seqs: 8,
        max_num_batched_tokens: 256,
        max_model_len: 256,
        ..options
    };
    CudaExecutor::new(gguf, sizes, &mut |_| {}).expect("a model that the GPU takes")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "two lists of hidden states");
    // `max` would drop a NaN.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

/// A step over all tokens of a text.
fn step(id: u64, ids: &[u32], rows: HiddenRows) -> SeqStep {
    SeqStep { wanted: Wanted::Hidden(rows), ..Sequence::new(id, ids, |i| 16 * id as usize + i).step(ids.len()) }
}

/// The hidden states of one text alone.
fn hidden(executor: &mut dyn Executor, ids: &[u32], rows: HiddenRows) -> Vec<f32> {
    run_step(executor, vec![step(1, ids, rows)]).hidden.swap_remove(0).values
}

fn check_encoder(model: &'static str, golden: &str, kv_types: &[(KvType, &'static str)]) {
    if !has_gpu() {
        return;
    }
    let Some((gguf, bytes)) = data::read(model, golden) else { return };
    let golden = SafeTensors::deserialize(&bytes).expect("a golden file");
    for &(kv_type, way) in kv_types {
        let bound = Bound::of("cuda", way);
        let mut executor = executor(&gguf, CudaOptions { kv_type, ..CudaOptions::default() });
        let (mut worst, mut steps, mut alone) = (0.0_f32, Vec::new(), Vec::new());
        for text in (0..).map(|i| format!("embed{i}")).take_while(|text| golden.tensor(&format!("{text}.ids")).is_ok())
        {
            let ids = data::words(&golden, &format!("{text}.ids"));
            let floats = |name: &str| data::floats(&golden, &format!("{text}.{name}"));
            let num_tokens = ids.len() as f32;
            let of_mean = |sum: Vec<f32>| sum.into_iter().map(|x| x / num_tokens).collect::<Vec<_>>();
            let all = hidden(&mut executor, &ids, HiddenRows::All);
            for (found, name) in [
                (all.clone(), "hidden"),
                (of_mean(hidden(&mut executor, &ids, HiddenRows::Sum)), "mean"),
                (hidden(&mut executor, &ids, HiddenRows::First), "cls"),
                (hidden(&mut executor, &ids, HiddenRows::Last), "last"),
            ] {
                worst = worst.max(largest_difference(&found, &floats(name)));
            }
            eprintln!("{model}, {text}: {} tokens, worst so far {worst:.5}", ids.len());
            steps.push(step(alone.len() as u64, &ids, HiddenRows::All));
            alone.push(all);
        }
        bound.check(model, worst);
        assert!(alone.len() >= 3, "{model}: {} texts", alone.len());
        // Side by side nobody sees another's tokens: sums are taken in another order, that is all.
        let together = run_step(&mut executor, steps).hidden;
        for (i, (found, alone)) in together.iter().zip(&alone).enumerate() {
            let difference = largest_difference(&found.values, alone);
            assert!(difference <= bound.value / 2.0, "{model}, text {i}: {difference} beside others");
        }
    }
}

#[test]
fn bert() {
    check_encoder("bert.f16", "bert", &[(KvType::F16, F16)]);
    check_encoder("bert", "bert", &[(KvType::F16, F16)]);
}

#[test]
fn xlm_roberta() {
    check_encoder("xlm_roberta", "xlm_roberta", &[(KvType::F16, F16)]);
}

#[test]
fn nomic_bert() {
    check_encoder("nomic.f16", "nomic", &[(KvType::F16, F16)]);
    check_encoder("nomic_bert", "nomic_bert", &[(KvType::F16, F16)]);
}

#[test]
fn gemma_embedding() {
    check_encoder("gemma_embedding", "gemma_embedding", &[(KvType::F16, F16)]);
}

#[test]
fn modern_bert() {
    check_encoder("modern_bert", "modern_bert", &[(KvType::F16, F16)]);
}

#[test]
fn encoders_keep_q8_0_keys() {
    check_encoder("bert.f16", "bert", &[(KvType::Q8_0, Q8_KV)]);
    check_encoder("nomic.f16", "nomic", &[(KvType::Q8_0, Q8_KV)]);
}

/// The state of the last token, after the final norm and not scaled as logits are: the last row of `hidden_last`.
#[test]
fn a_decoders_hidden_states() {
    if !has_gpu() {
        return;
    }
    for model in ["llama3_gqa", "qwen3", "gemma3", "granite"] {
        let file: &'static str = format!("{model}.f16").leak();
        let Some((gguf, bytes)) = data::read(file, model) else { continue };
        let golden = SafeTensors::deserialize(&bytes).expect("a golden file");
        let mut executor = executor(&gguf, CudaOptions::default());
        let width = executor.capacity().hidden_size;
        for prompt in ["short", "medium", "long"] {
            let ids = data::words(&golden, &format!("{prompt}.ids"));
            let states = data::floats(&golden, &format!("{prompt}.hidden_last"));
            let expected = &states[states.len() - width..];
            let largest = expected.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
            let last = hidden(&mut executor, &ids, HiddenRows::Last);
            let difference = largest_difference(&last, expected) / largest;
            eprintln!("{model}: {} tokens, the hidden state differs by {difference:.5} of {largest:.2}", ids.len());
            assert!(
                difference <= Bound::of("cuda", F16).value,
                "{model}: the hidden state differs by {difference} of {largest}"
            );
            let all = hidden(&mut executor, &ids, HiddenRows::All);
            assert!(all.ends_with(&last), "{model}: the last of all rows");
            // In chunks, beside a sequence that asks for a token.
            let mut sequence = Sequence::new(1, &ids, |i| i);
            let mut rows = Vec::new();
            while rows.len() < all.len() {
                let part = SeqStep { wanted: Wanted::Hidden(HiddenRows::All), ..sequence.step(5) };
                let output = run_step(&mut executor, vec![Sequence::new(2, &ids, |i| 40 + i).step(7), part]);
                rows.extend_from_slice(&output.hidden[0].values);
            }
            let difference = largest_difference(&rows, &all) / largest;
            assert!(
                difference <= Bound::of("cuda", F16).value,
                "{model}: chunks change hidden states by {difference} of {largest}"
            );
        }
    }
}
