//! Hidden states: of encoders against the golden files, of a decoder against the hidden state of its last token.

use cpu::{CpuOptions, KvType};
use exec::{Executor, HiddenRows, SeqStep, Wanted};
use safetensors::SafeTensors;

use crate::{
    bounds::Bound,
    data,
    executor::{exact, executor},
    runner::{Sequence, run_step},
};

/// The exact path differs in the order of its sums alone.
const EXACT: &str = "hidden states, exact";
/// Half-precision keys and values.
const F16_KV: &str = "hidden states, f16 keys and values";

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

fn check_encoder(model: &'static str, golden: &str) {
    let Some((gguf, bytes)) = data::read(model, golden) else { return };
    let golden = SafeTensors::deserialize(&bytes).expect("a golden file");
    for (options, way) in [(exact(), EXACT), (CpuOptions { kv_type: KvType::F16, ..exact() }, F16_KV)] {
        let mut executor = executor(&gguf, options);
        let (mut worst, mut steps, mut expected) = (0.0_f32, Vec::new(), Vec::new());
        for text in (0..).map(|i| format!("embed{i}")).take_while(|text| golden.tensor(&format!("{text}.ids")).is_ok())
        {
            let ids = data::words(&golden, &format!("{text}.ids"));
            let floats = |name: &str| data::floats(&golden, &format!("{text}.{name}"));
            let num_tokens = ids.len() as f32;
            let of_mean = |sum: Vec<f32>| sum.into_iter().map(|x| x / num_tokens).collect::<Vec<_>>();
            for (found, name) in [
                (hidden(&mut executor, &ids, HiddenRows::All), "hidden"),
                (of_mean(hidden(&mut executor, &ids, HiddenRows::Sum)), "mean"),
                (hidden(&mut executor, &ids, HiddenRows::First), "cls"),
                (hidden(&mut executor, &ids, HiddenRows::Last), "last"),
            ] {
                worst = worst.max(largest_difference(&found, &floats(name)));
            }
            expected.push(hidden(&mut executor, &ids, HiddenRows::All));
            steps.push(step(expected.len() as u64 - 1, &ids, HiddenRows::All));
        }
        Bound::of("cpu", way).check(model, worst);
        assert!(expected.len() >= 3, "{model}: {} texts", expected.len());
        // Side by side nobody sees another's tokens.
        let found: Vec<_> = run_step(&mut executor, steps).hidden.into_iter().map(|hidden| hidden.values).collect();
        assert!(found == expected, "{model}: other texts change the hidden states");
    }
}

#[test]
fn bert() {
    check_encoder("bert.f16", "bert");
    check_encoder("bert", "bert");
}

#[test]
fn xlm_roberta() {
    check_encoder("xlm_roberta", "xlm_roberta");
}

#[test]
fn nomic_bert() {
    check_encoder("nomic.f16", "nomic");
    check_encoder("nomic_bert", "nomic_bert");
}

#[test]
fn gemma_embedding() {
    check_encoder("gemma_embedding", "gemma_embedding");
}

#[test]
fn modern_bert() {
    check_encoder("modern_bert", "modern_bert");
}

/// The state of the last token, after the final norm: the last row of `hidden_last`.
#[test]
fn a_decoders_last_hidden_state() {
    for (model, name) in [("llama3_gqa.f16", "llama3_gqa"), ("qwen3.f16", "qwen3"), ("gemma3.f16", "gemma3")] {
        let Some((gguf, bytes)) = data::read(model, name) else { continue };
        let golden = SafeTensors::deserialize(&bytes).expect("a golden file");
        let mut executor = executor(&gguf, exact());
        let width = executor.capacity().hidden_size;
        for prompt in ["short", "medium", "long"] {
            let ids = data::words(&golden, &format!("{prompt}.ids"));
            let states = data::floats(&golden, &format!("{prompt}.hidden_last"));
            let expected = &states[states.len() - width..];
            let last = hidden(&mut executor, &ids, HiddenRows::Last);
            let difference = largest_difference(&last, expected);
            eprintln!("{model}: {} tokens, the hidden state differs by {difference:e}", ids.len());
            assert!(difference <= 2e-5, "{model}: the hidden state differs by {difference}");
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
            assert!(rows == all, "{model}: chunks change the hidden states");
        }
    }
}
