//! What a tokenizer promises, shown on vocabularies made here.

use gguf::{Array, Value};
use text::{EncodeOptions, Kind, TextError, Tokenizer};
use types::TokenId;

use crate::fixture;

/// The texts of the tokens of a text, as the file writes them.
fn tokens(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> Vec<String> {
    let ids = tokenizer.encode(text, options).expect("every text has tokens");
    ids.iter().map(|id| tokenizer.token_text(*id).expect("a token of the vocabulary").to_owned()).collect()
}

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSED: EncodeOptions = EncodeOptions { parse_special: true, ..PLAIN };

#[test]
fn byte_level_words_are_merged_in_the_order_of_the_merges() {
    let tokenizer = fixture::byte_level();
    assert_eq!(tokenizer.kind(), Kind::Bpe);
    assert_eq!(tokens(&tokenizer, "hello world", PLAIN), ["hello", "Ġwo", "r", "l", "d"]);
    assert_eq!(tokens(&tokenizer, "é\n\nx", PLAIN), ["Ã©", "Ċ", "Ċ", "x"]);
    assert_eq!(tokens(&tokenizer, "", PLAIN), [""; 0]);
}

#[test]
fn sentence_piece_takes_the_best_score_first_and_falls_back_to_bytes() {
    let tokenizer = fixture::sentence_piece();
    assert_eq!(tokenizer.kind(), Kind::Spm);
    assert_eq!(tokens(&tokenizer, "hello world", PLAIN), ["▁hello", "▁w", "o", "<0x72>", "l", "<0x64>"]);
    assert_eq!(tokens(&tokenizer, "日é語", PLAIN), ["▁", "日", "é", "<0xE8>", "<0xAA>", "<0x9E>"]);
    let special = EncodeOptions { add_special: true, ..PLAIN };
    assert_eq!(tokens(&tokenizer, "he", special), ["<s>", "▁", "he"]);
    assert_eq!(tokens(&tokenizer, "", special), ["<s>"]);
}

#[test]
fn control_tokens_are_read_only_when_asked_for() {
    let tokenizer = fixture::byte_level();
    assert_eq!(tokens(&tokenizer, "<|im_end|>he", PARSED), ["<|im_end|>", "he"]);
    let plain = tokens(&tokenizer, "<|im_end|>he", PLAIN);
    assert!(!plain.contains(&"<|im_end|>".to_owned()) && plain.len() > 2, "{plain:?}");
    assert_eq!(tokens(&tokenizer, "a<tool>b", PLAIN), ["a", "<tool>", "b"], "user-defined tokens are text");
    let tokenizer = fixture::sentence_piece();
    assert_eq!(tokens(&tokenizer, "he</s>he", PARSED), ["▁", "he", "</s>", "▁", "he"]);
    assert!(!tokens(&tokenizer, "<s></s><unk>", PLAIN).iter().any(|t| ["<s>", "</s>", "<unk>"].contains(&t.as_str())));
}

#[test]
fn the_ends_of_answers_are_found_by_key_and_by_name() {
    let tokenizer = fixture::byte_level();
    let end = tokenizer.token_id("<|im_end|>").expect("a token");
    assert_eq!((tokenizer.eos(), tokenizer.eot(), tokenizer.bos()), (Some(end), Some(end), None));
    assert_eq!(tokenizer.eog_ids(), [end]);
    assert!(tokenizer.is_special(end) && !tokenizer.adds_bos());
    let tokenizer = fixture::sentence_piece();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(TokenId(1)), Some(TokenId(2))));
    assert!(tokenizer.adds_bos() && tokenizer.eog_ids() == [TokenId(2)]);
}

/// The error of a vocabulary that one value was changed in, or removed from.
fn error(key: &str, value: Option<Value>) -> String {
    let sound = fixture::byte_level_metadata();
    let mut metadata = gguf::Metadata::default();
    for (other, kept) in sound.iter().filter(|(k, _)| *k != key) {
        metadata.insert(other, kept.clone());
    }
    if let Some(value) = value {
        metadata.insert(key, value);
    }
    let built = Tokenizer::from_metadata(&metadata);
    built.err().unwrap_or_else(|| panic!("{key}: an error was expected")).to_string()
}

#[test]
fn broken_vocabularies_are_refused_with_the_key_at_fault() {
    let texts = |texts: &[&str]| Some(Value::Array(Array::String(texts.iter().map(|t| (*t).to_owned()).collect())));
    let word = |text: &str| Some(Value::String(text.to_owned()));
    for (key, value, expected) in [
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model"),
        ("tokenizer.ggml.model", word("rwkv"), "`rwkv`, which is not supported; supported are `llama`, `gpt2`"),
        ("tokenizer.ggml.pre", word("nonesuch"), "`nonesuch`, which is not supported; supported are "),
        ("tokenizer.ggml.tokens", None, "tokenizer.ggml.tokens"),
        ("tokenizer.ggml.tokens", texts(&[]), "holds 0 tokens"),
        ("tokenizer.ggml.tokens", texts(&["a", "b", "a"]), "`a` stands at 0 and again at 2"),
        ("tokenizer.ggml.tokens", Some(Value::Bool(true)), "tokenizer.ggml.tokens"),
        ("tokenizer.ggml.token_type", Some(Value::Array(Array::Uint(vec![1]))), "holds 1 values for 271 tokens"),
        ("tokenizer.ggml.scores", Some(Value::Array(Array::Float(vec![f64::NAN; 271]))), "is not a number"),
        ("tokenizer.ggml.merges", None, "tokenizer.ggml.merges"),
        ("tokenizer.ggml.merges", texts(&["a"]), "the line `a`, which is not two parts"),
        ("tokenizer.ggml.merges", texts(&["a zz"]), "but `zz` is not a token"),
        ("tokenizer.ggml.add_bos_token", Some(Value::Bool(true)), "`tokenizer.ggml.bos_token_id` is not set"),
    ] {
        let message = error(key, value);
        assert!(message.contains(expected), "{key}: {message}");
    }
}

#[test]
fn text_without_tokens_is_an_error_and_not_lost() {
    let mut metadata = gguf::Metadata::default();
    for (key, value) in fixture::byte_level_metadata().iter() {
        metadata.insert(key, value.clone());
    }
    let mut small = gguf::Metadata::default();
    let texts = Array::String(["a", "b", "ab"].map(str::to_owned).to_vec());
    small.insert("tokenizer.ggml.tokens", Value::Array(texts));
    small.insert("tokenizer.ggml.merges", Value::Array(Array::String(vec!["a b".to_owned()])));
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre"] {
        small.insert(key, metadata.get(key).expect("a key of the fixture").clone());
    }
    let tokenizer = Tokenizer::from_metadata(&small).expect("a sound vocabulary");
    assert_eq!(tokens(&tokenizer, "abba", PLAIN), ["ab", "b", "a"]);
    let refused = tokenizer.encode("abc", PLAIN);
    assert!(matches!(&refused, Err(TextError::Encode(why)) if why.contains("no tokens for `c`")), "{refused:?}");
}
