//! Mutated model files through everything that reads them before a server is up: the container, the specification, the
//! weights, the tokenizer, the template and the CPU's executor, which then computes a step. Whatever is wrong with a file,
//! it is an error that says so: no panic, and no memory beyond what the sound file takes.
//!
//! A binary of its own, with one test, since it counts what the whole process allocates.

mod counting;
mod mutate;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use cpu::{CpuExecutor, CpuOptions, KvType};
use exec::{Executor, HiddenRows, ModelKind, SampleSpec, SeqStep, StepPlan, Wanted};
use gguf::{Array, Gguf, Value};
use mutate::{Model, Random, mutate_bytes};
use text::{ChatTemplate, EncodeOptions, Tokenizer};
use types::{BlockId, SamplingParams, SeqId, TokenId};

/// Models tried, and vocabularies.
const NUM_ROUNDS: usize = 3_000;
/// Bytes that loading and a step may hold beyond the file. The sound files take up to 2 MiB.
const MAX_HELD: usize = 8 << 20;
/// Tokens of the step.
const NUM_TOKENS: usize = 5;
/// Blocks of the pools.
const NUM_BLOCKS: usize = 2;

/// The golden models that lie in the repository, each with a small vocabulary unless it has its own.
fn seeds() -> Vec<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data");
    let mut paths: Vec<_> = fs::read_dir(&folder).expect("the golden models").flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.sort();
    assert!(paths.len() > 30, "only {} models in {}", paths.len(), folder.display());
    paths.iter().map(|path| with_vocabulary(&Gguf::open(path).expect("a sound file"))).collect()
}

fn with_vocabulary(gguf: &Gguf) -> Model {
    let mut model = Model::of(gguf);
    if gguf.metadata().get("tokenizer.ggml.model").is_none() {
        let num_tokens = gguf.tensor("token_embd.weight").expect("an embedding").shape[1];
        let text = |i: usize| if i < 3 { format!("<{i}>") } else { char::from(b'!' + (i - 3) as u8).to_string() };
        let tokens = (0..num_tokens).map(text).collect();
        let types = (0..num_tokens).map(|i| if i < 3 { 3 } else { 1 }).collect();
        let values = [
            ("model", Value::String("llama".to_owned())),
            ("tokens", Value::Array(Array::String(tokens))),
            ("scores", Value::Array(Array::Float((0..num_tokens).map(|i| -(i as f64)).collect()))),
            ("token_type", Value::Array(Array::Int(types))),
            ("bos_token_id", Value::Uint(1)),
            ("eos_token_id", Value::Uint(2)),
        ];
        model.values.extend(values.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)));
        let template = "{% for m in messages %}{{ m.content }}{% endfor %}".to_owned();
        model.values.push(("tokenizer.chat_template".to_owned(), Value::String(template)));
    }
    model
}

/// A vocabulary of each kind: SentencePiece, Unigram, WordPiece and the demo's BPE.
fn vocabularies() -> Vec<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/text");
    let open = |name: &str| Gguf::open(&folder.join(name)).expect("a sound file");
    let files = ["spm.gguf", "unigram.gguf", "word_piece.gguf"].map(open);
    let demo = Gguf::from_static(demo::DEMO_GGUF).expect("a sound file");
    files.iter().chain([&demo]).map(Model::vocabulary).collect()
}

/// Reads a vocabulary and encodes some text.
fn load_text(gguf: &Gguf) -> Result<(), String> {
    let tokenizer = Tokenizer::from_metadata(gguf.metadata()).map_err(|e| e.to_string())?;
    ChatTemplate::from_metadata(gguf.metadata(), &tokenizer).map_err(|e| e.to_string())?;
    let _ = tokenizer.encode("<1>a Größe \u{1f642} 12345\n\n  don't", EncodeOptions::default());
    Ok(())
}

/// Reads a file as `serve` does; the texts of errors are what a user sees.
fn load(bytes: Vec<u8>) -> Result<(), String> {
    let gguf = Gguf::from_bytes(bytes).map_err(|e| e.to_string())?;
    if let Some(bad) = gguf.find_bad_weight(1, |tensor| tensor.shape.len() == 1, |_| ()) {
        return Err(bad.to_string());
    }
    load_text(&gguf)?;
    let spec = model::decoder_spec(&gguf).map_err(|e| e.to_string())?;
    let options = CpuOptions {
        num_threads: 1,
        num_blocks: NUM_BLOCKS,
        max_num_batched_tokens: NUM_TOKENS,
        max_model_len: spec.max_positions().map_or(16, |most| most.min(16)),
        kv_type: KvType::F16,
        ..CpuOptions::default()
    };
    let mut executor = CpuExecutor::new(Arc::new(gguf), options).map_err(|e| e.to_string())?;
    let ticket = executor.launch(plan(&executor)).map_err(|e| e.to_string())?;
    executor.collect(ticket).map(drop).map_err(|e| e.to_string())
}

fn plan(executor: &CpuExecutor) -> StepPlan {
    let capacity = executor.capacity();
    let params = Arc::new(SamplingParams::greedy());
    let sample = SampleSpec { params, uniform: 0.5, recent_tokens: Vec::new(), want_logits: true };
    let table: Vec<_> = (0..NUM_BLOCKS).map(|block| BlockId(block as u32)).collect();
    let seq = SeqStep {
        seq_id: SeqId(1),
        tokens: (0..NUM_TOKENS).map(|i| TokenId((i % capacity.vocab_size) as u32)).collect(),
        num_computed_tokens: 0,
        block_tables: Arc::new(vec![table; capacity.pools.len()]),
        wanted: match capacity.kind {
            ModelKind::Decoder => Wanted::Token(sample),
            ModelKind::Encoder => Wanted::Hidden(HiddenRows::Sum),
        },
    };
    StepPlan { seqs: vec![seq], finished: Vec::new() }
}

/// What `load` makes of changed files, a line for each panic and each that takes too much memory.
fn faults(seeds: &[Model], random: &mut Random, load: fn(Vec<u8>) -> Result<(), String>) -> (usize, Vec<String>) {
    let (mut num_sound, mut faults) = (0, Vec::new());
    for round in 0..NUM_ROUNDS {
        let mut model = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(2) {
            model.mutate(random);
        }
        let mut bytes = model.build();
        if random.below(4) == 0 {
            mutate_bytes(&mut bytes, random);
        }
        let len = bytes.len();
        let (outcome, held) = counting::peak_of(|| catch_unwind(AssertUnwindSafe(|| load(bytes))));
        let fault = match outcome {
            Err(_) => "a panic".to_owned(),
            Ok(Err(error)) if error.is_empty() => "an error without words".to_owned(),
            _ if held > MAX_HELD + len => format!("{held} bytes for a file of {len}"),
            Ok(outcome) => {
                num_sound += usize::from(outcome.is_ok());
                continue;
            }
        };
        faults.push(format!("round {round}: {fault}; {}", model.changes.join("; ")));
    }
    (num_sound, faults)
}

#[test]
fn mutated_models_are_errors_and_nothing_worse() {
    let mut random = Random::new();
    let read_text = |bytes| load_text(&Gguf::from_bytes(bytes).map_err(|e| e.to_string())?);
    for (seeds, load) in [(seeds(), load as fn(_) -> _), (vocabularies(), read_text as fn(_) -> _)] {
        for (idx, seed) in seeds.iter().enumerate() {
            let (outcome, held) = counting::peak_of(|| load(seed.build()));
            assert_eq!(outcome, Ok(()), "file {idx} as it is");
            assert!(held <= MAX_HELD / 2, "file {idx} as it is takes {held} bytes");
        }
        let (num_sound, faults) = faults(&seeds, &mut random, load);
        assert!(faults.is_empty(), "{} of {NUM_ROUNDS}:\n{}", faults.len(), faults.join("\n"));
        // Mutations that only broke files early would try little.
        assert!((NUM_ROUNDS / 20..NUM_ROUNDS * 19 / 20).contains(&num_sound), "{num_sound} files were sound");
    }
}
