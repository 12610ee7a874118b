//! What the programs that models were made with make of random Unicode: `sentencepiece` and `tokenizers`, on the small
//! vocabularies and in the words of tests/data/text, which `make.py` there made.

use gguf::{Gguf, Value};
use serde_json::Value as Json;
use text::{DetokenizeOptions, EncodeOptions, Tokenizer};
use types::TokenId;

use crate::data;

fn cases(name: &str) -> Vec<Json> {
    let text = data::read(&format!("text/{name}.json")).expect("a file of the project");
    serde_json::from_str(&text).expect("JSON")
}

/// A small vocabulary; `lowercase` is WordPiece's.
pub(crate) fn vocabulary(name: &str, lowercase: Option<bool>) -> Tokenizer {
    let path = data::find(&format!("text/{name}.gguf")).expect("a file of the project");
    let gguf = Gguf::open(&path).expect("a sound GGUF");
    let mut metadata = gguf.metadata().clone();
    if let Some(lowercase) = lowercase {
        metadata.insert("tokenizer.ggml.normalizer.lowercase", Value::Bool(lowercase));
    }
    Tokenizer::from_metadata(&metadata).expect("a known vocabulary")
}

fn check(name: &str, tokenizer: &Tokenizer, case: &Json) {
    let text = case["text"].as_str().expect("a text");
    let ids = case["ids"].as_array().expect("a list of ids");
    let expected: Vec<TokenId> = ids.iter().map(|id| TokenId(id.as_u64().expect("an id") as u32)).collect();
    let found = tokenizer.encode(text, EncodeOptions::default()).expect("every text has tokens");
    let texts =
        |ids: &[TokenId]| ids.iter().map(|id| tokenizer.token_text(*id).unwrap_or("?").to_owned()).collect::<Vec<_>>();
    assert_eq!(found, expected, "{name}: {text:?}\n  {:?}\n  {:?}", texts(&found), texts(&expected));
}

#[test]
fn sentence_piece_bpe() {
    let tokenizer = vocabulary("spm", None);
    cases("spm").iter().for_each(|case| check("spm", &tokenizer, case));
}

#[test]
fn sentence_piece_unigram() {
    let tokenizer = vocabulary("unigram", None);
    cases("unigram").iter().for_each(|case| check("unigram", &tokenizer, case));
}

#[test]
fn word_piece() {
    let tokenizers = [false, true].map(|lowercase| vocabulary("word_piece", Some(lowercase)));
    for case in cases("word_piece") {
        let lowercase = case["lowercase"].as_bool().expect("a boolean");
        check("word_piece", &tokenizers[usize::from(lowercase)], &case);
    }
}

/// Texts lose their odd spaces and letters on the way; what comes back has the same tokens.
#[test]
fn texts_of_lossy_vocabularies_come_back_with_the_same_tokens() {
    let kinds = [("unigram", None, 2), ("word_piece", Some(true), 1), ("word_piece", Some(false), 1)];
    for (name, lowercase, unknown) in kinds {
        let tokenizer = vocabulary(name, lowercase);
        let mut num_known = 0;
        for case in cases(name) {
            let encode = |text: &str| tokenizer.encode(text, EncodeOptions::default()).expect("every text has tokens");
            let known = encode(case["text"].as_str().expect("a text")).into_iter().filter(|id| id.0 != unknown);
            let ids: Vec<TokenId> = known.collect();
            let text =
                tokenizer.decode(&ids, DetokenizeOptions { at_text_start: true, ..DetokenizeOptions::default() });
            let again = encode(&text);
            // Where an unknown character is gone, its neighbours may join.
            if again.len() == ids.len() {
                assert_eq!(again, ids, "{name}: {text:?}");
                num_known += 1;
            }
        }
        assert!(num_known >= 50, "{name}: {num_known} texts compared");
    }
}
