//! The ids that llama.cpp gives, for every vocabulary of the test data.

use gguf::Gguf;
use text::{DetokenizeOptions, EncodeOptions, Kind, Tokenizer};
use types::TokenId;

use crate::data;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// A vocabulary of the test data.
pub(crate) fn load(name: &str) -> Option<Tokenizer> {
    let path = data::find(&format!("vocab/ggml-vocab-{name}.gguf"))?;
    let gguf = Gguf::open(&path).expect("a sound GGUF");
    Some(Tokenizer::from_metadata(gguf.metadata()).expect("a known vocabulary"))
}

/// The texts of a vocabulary's cases and their ids.
fn cases(name: &str) -> Option<Vec<(String, Vec<TokenId>)>> {
    let inputs = data::read(&format!("vocab/ggml-vocab-{name}.gguf.inp"))?;
    let outputs = data::read(&format!("vocab/ggml-vocab-{name}.gguf.out"))?;
    let ids = |line: &str| line.split_whitespace().map(|id| TokenId(id.parse().expect("an id"))).collect();
    let inputs = inputs.split(SEPARATOR).map(str::to_owned);
    Some(inputs.zip(outputs.lines().map(ids)).collect())
}

fn check(name: &str, kind: Kind) {
    let (Some(tokenizer), Some(cases)) = (load(name), cases(name)) else { return };
    assert_eq!(tokenizer.kind(), kind);
    assert!(cases.len() >= 46, "{name} has {} cases", cases.len());
    for (text, expected) in cases {
        let ids = tokenizer.encode(&text, EncodeOptions::default()).expect("every text has tokens");
        assert_eq!(ids, expected, "{name}: {text:?}");
        if kind != Kind::WordPiece {
            let options = DetokenizeOptions { at_text_start: true, ..DetokenizeOptions::default() };
            assert_eq!(tokenizer.decode(&ids, options), text, "{name}: there and back");
        }
    }
}

#[test]
fn llama_spm() {
    check("llama-spm", Kind::Spm);
}

#[test]
fn phi_3() {
    check("phi-3", Kind::Spm);
}

#[test]
fn llama_bpe() {
    check("llama-bpe", Kind::Bpe);
}

#[test]
fn qwen2() {
    check("qwen2", Kind::Bpe);
}

#[test]
fn gpt_2() {
    check("gpt-2", Kind::Bpe);
}

#[test]
fn starcoder() {
    check("starcoder", Kind::Bpe);
}

#[test]
fn command_r() {
    check("command-r", Kind::Bpe);
}

#[test]
fn falcon() {
    check("falcon", Kind::Bpe);
}

#[test]
fn deepseek_coder() {
    check("deepseek-coder", Kind::Bpe);
}

#[test]
fn gemma_4() {
    check("gemma-4", Kind::Bpe);
}

#[test]
fn bert_bge() {
    check("bert-bge", Kind::WordPiece);
}
