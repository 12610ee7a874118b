//! What a tokenizer promises, shown on vocabularies made here.

use gguf::{Array, Strings, Value};
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

/// A vocabulary of these tokens and their types, with these keys.
fn vocabulary(tokens: &[(&str, u64)], keys: &[(&str, Value)]) -> Tokenizer {
    let mut metadata = gguf::Metadata::default();
    let texts = tokens.iter().map(|(text, _)| text).collect();
    metadata.insert("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::Uint(tokens.iter().map(|(_, t)| *t).collect())));
    metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(Strings::default())));
    for (key, value) in keys {
        metadata.insert(format!("tokenizer.ggml.{key}"), value.clone());
    }
    Tokenizer::from_metadata(&metadata).expect("a sound vocabulary")
}

const NORMAL: u64 = 1;
const CONTROL: u64 = 3;

fn ids(ids: &[u32]) -> Vec<TokenId> {
    ids.iter().copied().map(TokenId).collect()
}

#[test]
fn ends_of_answers_are_those_that_llama_cpp_computes() {
    // Whatever ends an answer by name does so in every vocabulary, and is a control token.
    let tokens =
        [("a", NORMAL), ("<|im_end|>", NORMAL), ("</s>", CONTROL), ("<|endoftext|>", CONTROL), ("<|x|>", CONTROL)];
    let tokenizer = vocabulary(&tokens, &[("eos_token_id", Value::Uint(4))]);
    assert_eq!(tokenizer.eog_ids(), ids(&[1, 2, 3, 4]));
    assert!(tokenizer.is_special(TokenId(1)) && tokenizer.eot() == Some(TokenId(1)));
    // Padding, repository and file names of code models end answers too.
    let tokens = [("<|fim_pad|>", NORMAL), ("<|repo_name|>", NORMAL), ("<|file_sep|>", NORMAL), ("a", NORMAL)];
    assert_eq!(vocabulary(&tokens, &[]).eog_ids(), ids(&[0, 1, 2]));
    // gpt-oss: `<|end|>` ends a message of several, and the marks of its parts are shown.
    let tokens =
        [("<|end|>", CONTROL), ("<|return|>", CONTROL), ("<|call|>", CONTROL), ("<|channel|>", CONTROL), ("a", NORMAL)];
    let tokenizer = vocabulary(&tokens, &[("eos_token_id", Value::Uint(1))]);
    assert_eq!(tokenizer.eog_ids(), ids(&[1, 2]));
    assert!(!tokenizer.is_special(TokenId(0)) && !tokenizer.is_special(TokenId(3)));
    // gemma 4: `</s>` is HTML there.
    let tokens = [("<|tool_response>", CONTROL), ("</s>", NORMAL), ("<turn|>", CONTROL), ("<eos>", CONTROL)];
    let tokenizer = vocabulary(&tokens, &[]);
    assert_eq!(tokenizer.eog_ids(), ids(&[0, 2, 3]));
    assert!(!tokenizer.is_special(TokenId(1)));
}

#[test]
fn the_marks_of_a_gap_are_found_by_key_and_by_name() {
    let tokens = [("<PRE>", NORMAL), ("<SUF>", NORMAL), ("<MID>", NORMAL), ("<fim_prefix>", CONTROL), ("x", NORMAL)];
    let tokenizer = vocabulary(&tokens, &[]);
    let fim = tokenizer.fim();
    // The newer name counts first.
    assert_eq!([fim.prefix, fim.suffix, fim.middle], [Some(TokenId(3)), Some(TokenId(1)), Some(TokenId(2))]);
    assert_eq!([fim.pad, fim.repo, fim.file], [None; 3]);
    assert!(tokenizer.is_special(TokenId(1)) && !tokenizer.is_special(TokenId(0)));
    let keys = [
        ("fim_pre_token_id", Value::Uint(4)),
        ("middle_token_id", Value::Uint(0)),
        ("fim_suf_token_id", Value::Uint(9)),
    ];
    let fim = vocabulary(&tokens, &keys).fim();
    // An id that is out of range is as good as none.
    assert_eq!([fim.prefix, fim.suffix, fim.middle], [Some(TokenId(4)), Some(TokenId(1)), Some(TokenId(0))]);
    assert_eq!(fixture::byte_level().fim(), text::FimTokens::default());
}

#[test]
fn what_begins_and_ends_texts_is_the_files_choice_but_for_gemma_4() {
    let tokens = [("<s>", CONTROL), ("</s>", CONTROL), ("a", NORMAL)];
    let (bos, eos) = (("bos_token_id", Value::Uint(0)), ("eos_token_id", Value::Uint(1)));
    let special = EncodeOptions { add_special: true, ..PLAIN };
    let encode = |keys: &[(&str, Value)]| vocabulary(&tokens, keys).encode("a", special).expect("tokens");
    let pre = |name: &str| ("pre", Value::String(name.to_owned()));
    let add = |key, value| (key, Value::Bool(value));
    assert_eq!(encode(&[bos.clone(), pre("qwen2")]), ids(&[2]));
    assert_eq!(encode(&[bos.clone(), pre("llama-bpe")]), ids(&[0, 2]));
    assert_eq!(encode(&[bos.clone(), pre("llama-bpe"), add("add_bos_token", false)]), ids(&[2]));
    assert_eq!(
        encode(&[bos.clone(), eos, pre("qwen2"), add("add_bos_token", true), add("add_eos_token", true)]),
        ids(&[0, 2, 1])
    );
    let gemma = ("model", Value::String("gemma4".to_owned()));
    assert_eq!(encode(&[gemma, bos, add("add_bos_token", false)]), ids(&[0, 2]));
    let tokenizer = vocabulary(&tokens, &[pre("roberta-bpe"), ("seperator_token_id", Value::Uint(1))]);
    assert!(tokenizer.adds_separator() && tokenizer.separator() == Some(TokenId(1)));
}

#[test]
fn some_models_masks_take_the_space_before_them() {
    let tokens = [("<mask>", CONTROL), ("a", NORMAL), ("Ġ", NORMAL)];
    let pre = |name: &str| ("pre", Value::String(name.to_owned()));
    let encode = |name| vocabulary(&tokens, &[pre(name)]).encode("a  <mask> a", PARSED).expect("tokens");
    assert_eq!(encode("jina-v2-de"), ids(&[1, 0, 2, 1]));
    assert_eq!(encode("gpt-2"), ids(&[1, 2, 2, 0, 2, 1]));
}

#[test]
fn tokens_that_are_never_to_be_chosen_are_told() {
    let suppressed = Value::Array(Array::Uint(vec![2, 0, 2, 99]));
    let tokens = [("a", NORMAL), ("b", NORMAL), ("c", NORMAL)];
    assert_eq!(vocabulary(&tokens, &[("suppress_tokens", suppressed)]).suppressed_ids(), ids(&[0, 2]));
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
    let texts = |texts: &[&str]| Some(Value::Array(Array::String(texts.iter().collect())));
    let word = |text: &str| Some(Value::String(text.to_owned()));
    for (key, value, expected) in [
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model"),
        ("tokenizer.ggml.model", word("nonesuch"), "`nonesuch`, which is not supported; supported are `llama`, `gpt2`"),
        ("tokenizer.ggml.model", word("rwkv"), "`rwkv`, which is not supported: RWKV's longest-match tokenizer"),
        ("tokenizer.ggml.model", word("plamo2"), "`plamo2`, which is not supported: PLaMo 2's tokenizer"),
        ("tokenizer.ggml.model", word("no_vocab"), "the file has no vocabulary"),
        ("tokenizer.ggml.pre", word("qwen3"), "`qwen3`, which is not supported; the nearest is `qwen2`, all are "),
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
    let texts = Array::String(["a", "b", "ab"].iter().collect());
    small.insert("tokenizer.ggml.tokens", Value::Array(texts));
    small.insert("tokenizer.ggml.merges", Value::Array(Array::String(["a b"].iter().collect())));
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre"] {
        small.insert(key, metadata.get(key).expect("a key of the fixture").clone());
    }
    let tokenizer = Tokenizer::from_metadata(&small).expect("a sound vocabulary");
    assert_eq!(tokens(&tokenizer, "abba", PLAIN), ["ab", "b", "a"]);
    let refused = tokenizer.encode("abc", PLAIN);
    assert!(matches!(&refused, Err(TextError::Encode(why)) if why.contains("no tokens for `c`")), "{refused:?}");
}
