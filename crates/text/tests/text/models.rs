//! What `transformers` makes of texts and conversations, for the golden models.

use std::sync::Arc;

use gguf::Gguf;
use serde_json::{Map, Value as Json};
use text::{ChatInput, ChatTemplate, DetokenizeOptions, EncodeOptions, Kind, Tokenizer};
use types::TokenId;

use crate::data;

/// A golden model's metadata and the cases beside it.
fn open(name: &str) -> Option<(Gguf, Json)> {
    let path = data::find(&format!("golden/{name}.f16.gguf"))?;
    let cases = data::read(&format!("golden/{name}.json"))?;
    Some((Gguf::open(&path).expect("a sound GGUF"), serde_json::from_str(&cases).expect("JSON")))
}

fn ids(ids: &Json) -> Vec<TokenId> {
    let ids = ids.as_array().expect("a list of ids");
    ids.iter().map(|id| TokenId(id.as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id"))).collect()
}

/// What llama.cpp makes of a text, where that is known to be something else: it does not normalize to NFC.
fn llama_cpp<'a>(model: &'a Json, text: &str, kind: &str) -> Option<&'a Json> {
    let different = model["llama_cpp_check"]["tokenizer_differs"].as_array()?;
    different.iter().find(|case| case["text"] == text && case["kind"] == kind).map(|case| &case["llama_cpp"])
}

/// Every text of a model's cases.
fn check_tokens(name: &str, tokenizer: &Tokenizer, model: &Json) {
    let cases = model["tokenization"].as_array().expect("a list of cases");
    assert!(!cases.is_empty(), "{name}");
    for case in cases {
        let text = case["text"].as_str().expect("a text");
        for (key, add_special) in [("ids", false), ("ids_special", true)] {
            let options = EncodeOptions { add_special, parse_special: false };
            let found = tokenizer.encode(text, options).expect("every text has tokens");
            let expected = llama_cpp(model, text, key).filter(|_| tokenizer.kind() == Kind::Bpe).unwrap_or(&case[key]);
            assert_eq!(found, ids(expected), "{name}: {key} of {text:?}");
        }
        if tokenizer.kind() != Kind::WordPiece {
            let options = DetokenizeOptions { at_text_start: true, render_special: true };
            let found = tokenizer.encode(text, EncodeOptions::default()).expect("every text has tokens");
            assert_eq!(tokenizer.decode(&found, options), text, "{name}: there and back");
        }
    }
}

/// Every conversation of a model's cases.
fn check_chats(name: &str, tokenizer: &Tokenizer, template: &ChatTemplate, model: &Json) {
    for case in model["chat"].as_array().into_iter().flatten() {
        let input = ChatInput {
            messages: &case["messages"],
            tools: None,
            add_generation_prompt: case["add_generation_prompt"].as_bool().expect("a boolean"),
            kwargs: &Map::new(),
        };
        let rendered = template.render(&input).expect("a conversation that the template takes");
        assert_eq!(rendered, case["rendered"].as_str().expect("a text"), "{name}");
        let options = EncodeOptions { add_special: false, parse_special: true };
        let found = tokenizer.encode(&rendered, options).expect("every text has tokens");
        if case.get("ids").is_some() {
            assert_eq!(found, ids(&case["ids"]), "{name}: {rendered:?}");
        }
    }
}

fn check(name: &str) {
    let Some((gguf, cases)) = open(name) else { return };
    let tokenizer = Arc::new(Tokenizer::from_metadata(gguf.metadata()).expect("a known vocabulary"));
    check_tokens(name, &tokenizer, &cases);
    let template = ChatTemplate::from_metadata(gguf.metadata(), &tokenizer).expect("a sound template");
    check_chats(name, &tokenizer, &template, &cases);
}

#[test]
fn byte_level_models() {
    for name in ["llama3_gqa", "qwen2", "qwen3", "qwen3moe", "granite", "gptoss"] {
        check(name);
    }
}

#[test]
fn sentence_piece_models() {
    for name in ["llama_spm_tied", "mistral", "phi3", "gemma2", "gemma3", "stories260k"] {
        check(name);
    }
}

#[test]
fn word_piece_models() {
    for name in ["bert", "nomic"] {
        check(name);
    }
}
