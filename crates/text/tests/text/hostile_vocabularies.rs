//! Vocabularies that contradict themselves: an error or a tokenizer that works, never a panic.

use gguf::{Array, Builder, Gguf, Metadata, Strings, Value};
use proptest::prelude::*;
use text::{DetokenizeOptions, EncodeOptions, Tokenizer};
use types::TokenId;

use crate::{data, fixture};

/// One of each kind.
fn sound() -> [(&'static str, Metadata); 4] {
    let of_file = |name: &str| {
        let path = data::find(&format!("text/{name}.gguf")).expect("a file of the project");
        Gguf::open(&path).expect("a sound GGUF").metadata().clone()
    };
    [
        ("byte-level", fixture::byte_level_metadata()),
        ("sentence piece", fixture::sentence_piece_metadata()),
        ("unigram", of_file("unigram")),
        ("word piece", of_file("word_piece")),
    ]
}

/// What is done to a value.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Removed,
    OtherType,
    Emptied,
    Shortened,
    Lengthened,
    /// An element in another's place.
    Repeated,
    /// An element that is extreme for its type.
    Extreme,
    Swapped,
}

const FAULTS: [Fault; 8] = [
    Fault::Removed,
    Fault::OtherType,
    Fault::Emptied,
    Fault::Shortened,
    Fault::Lengthened,
    Fault::Repeated,
    Fault::Extreme,
    Fault::Swapped,
];

fn broken<T: Clone>(mut list: Vec<T>, fault: Fault, [at, other]: [usize; 2], extremes: &[T]) -> Vec<T> {
    let len = list.len();
    match fault {
        _ if len == 0 => list.extend(extremes.iter().cloned()),
        Fault::Emptied => list.clear(),
        Fault::Shortened => list.truncate(at % len),
        Fault::Lengthened => list.extend(extremes.iter().cloned()),
        Fault::Repeated => list[at % len] = list[other % len].clone(),
        Fault::Extreme => list[at % len] = extremes[other % extremes.len()].clone(),
        Fault::Swapped => list.swap(at % len, other % len),
        Fault::Removed | Fault::OtherType => {}
    }
    list
}

/// The value with a fault; `None` where it is gone.
fn with_fault(value: &Value, fault: Fault, at: [usize; 2]) -> Option<Value> {
    const TEXTS: [&str; 8] = ["", " ", "a", "\u{fffd}", "▁", "<0xZZ>", "nothing like it", "\0"];
    let extreme = at[1];
    Some(match value {
        _ if matches!(fault, Fault::Removed) => return None,
        Value::Array(_) if matches!(fault, Fault::OtherType) => Value::Uint(extreme as u64),
        _ if matches!(fault, Fault::OtherType) => Value::Array(Array::Float(vec![0.5])),
        Value::Array(Array::String(list)) => {
            let list: Vec<&str> = list.iter().collect();
            Value::Array(Array::String(broken(list, fault, at, &TEXTS).into_iter().collect::<Strings>()))
        }
        Value::Array(Array::Uint(list)) => {
            Value::Array(Array::Uint(broken(list.clone(), fault, at, &[0, 1, 2, 3, 4, 5, 6, 255, u64::MAX])))
        }
        Value::Array(Array::Int(list)) => {
            Value::Array(Array::Int(broken(list.clone(), fault, at, &[0, -1, 1, 2, 3, 4, 5, 6, i64::MIN])))
        }
        Value::Array(Array::Float(list)) => {
            let extremes = [0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 1e-300];
            Value::Array(Array::Float(broken(list.clone(), fault, at, &extremes)))
        }
        Value::Uint(_) => Value::Uint([0, 1, 100, u64::from(u32::MAX), u64::MAX][extreme % 5]),
        Value::Int(_) => Value::Int([0, -1, i64::MAX, i64::MIN][extreme % 4]),
        Value::Bool(value) => Value::Bool(!value),
        Value::String(_) => Value::String(TEXTS[extreme % TEXTS.len()].to_owned()),
        other => other.clone(),
    })
}

/// A tokenizer that could be built tells of tokens that it has, and of all of its text.
fn check(name: &str, metadata: &Metadata) {
    let Ok(tokenizer) = Tokenizer::from_metadata(metadata) else { return };
    let num_tokens = tokenizer.num_tokens() as u32;
    for text in ["hello world", " a  b\n\n", "日本 é e\u{301}😀", "<tool></s><|im_end|>", "\0\u{fffd}▁"] {
        for flag in [false, true] {
            let options = EncodeOptions { add_special: flag, parse_special: flag };
            let Ok(ids) = tokenizer.encode(text, options) else { continue };
            assert!(ids.iter().all(|id| id.0 < num_tokens), "{name}: {ids:?} of {text:?}");
            drop(tokenizer.decode(&ids, DetokenizeOptions::default()));
        }
    }
    let beyond = TokenId(num_tokens);
    assert!(tokenizer.piece(beyond).is_empty() && tokenizer.token_text(beyond).is_none());
    let roles = [tokenizer.bos(), tokenizer.eos(), tokenizer.eot(), tokenizer.separator()];
    let listed = [tokenizer.eog_ids(), tokenizer.suppressed_ids()].concat();
    assert!(roles.into_iter().flatten().chain(listed).all(|id| id.0 < num_tokens), "{name}");
}

proptest! {
    #![proptest_config(fixture::config(400))]

    #[test]
    fn faults_are_errors_or_harmless(
        kind in 0..4_usize,
        faults in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&FAULTS[..]), any::<[usize; 2]>()), 1..3),
    ) {
        let (name, sound) = &SOUND.with(|sound| sound[kind].clone());
        let mut metadata = sound.clone();
        for (key, fault, at) in faults {
            let keys: Vec<String> = metadata.iter().map(|(key, _)| key.to_owned()).collect();
            // Without the kind of the tokenizer nothing else is looked at.
            let keys: Vec<&String> = keys.iter().filter(|key| *key != "tokenizer.ggml.model").collect();
            let key = keys[key.index(keys.len())];
            match metadata.get(key).and_then(|value| with_fault(value, fault, at)) {
                Some(value) => drop(metadata.insert(key, value)),
                None => drop(metadata.remove(key)),
            }
        }
        check(name, &metadata);
    }
}

thread_local! {
    static SOUND: [(&'static str, Metadata); 4] = sound();
}

/// The error of a vocabulary of these tokens in which one key has another value.
fn error(metadata: &Metadata, key: &str, value: Value) -> String {
    let mut metadata = metadata.clone();
    metadata.insert(key, value);
    Tokenizer::from_metadata(&metadata).err().unwrap_or_else(|| panic!("{key}: an error was expected")).to_string()
}

#[test]
fn scores_of_unigram_must_be_finite() {
    let [.., (_, unigram), _] = sound();
    let num_tokens = unigram.strings("tokenizer.ggml.tokens").expect("a list").expect("tokens").len();
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let mut scores = vec![-1.0; num_tokens];
        scores[num_tokens - 1] = wrong;
        let message = error(&unigram, "tokenizer.ggml.scores", Value::Array(Array::Float(scores)));
        assert!(message.contains(&format!("token {}", num_tokens - 1)), "{message}");
    }
}

/// Bytes that are no UTF-8 are replaced when the file is read; tokens that become equal by it are refused.
#[test]
fn texts_that_are_no_utf_8_are_replaced_or_refused() {
    let sound = fixture::sentence_piece_metadata();
    let file = sound.iter().fold(Builder::new(), |file, (key, value)| file.value(key, value.clone())).build();
    let with = |replaced: &[&str]| {
        let mut bytes = file.clone();
        for text in replaced {
            // A token stands behind its length.
            let entry = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
            let at = bytes.windows(entry.len()).position(|window| window == entry).expect("a token");
            bytes[at + 8..at + entry.len()].fill(0xFF);
        }
        let gguf = Gguf::from_bytes(bytes).expect("a sound file");
        Tokenizer::from_metadata(gguf.metadata())
    };
    let tokenizer = with(&["hell"]).expect("one such token is a token");
    let ids = tokenizer.encode("hello", EncodeOptions::default()).expect("tokens");
    assert_eq!(tokenizer.decode(&ids, DetokenizeOptions { at_text_start: true, ..Default::default() }), "hello");
    assert!(tokenizer.token_id("\u{fffd}\u{fffd}\u{fffd}\u{fffd}").is_some());
    let message = with(&["ll", "he"]).err().expect("two equal tokens").to_string();
    assert!(message.contains("`\u{fffd}\u{fffd}` stands at"), "{message}");
}
