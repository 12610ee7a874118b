//! Long runs and other texts that make naive tokenizers slow: time grows with the text, not with its square.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use text::{DetokenizeOptions, EncodeOptions, Kind, Tokenizer};

use crate::{fixture, vocabularies};

/// Bytes of each text.
const LEN: usize = 200_000;
/// Quadratic time would take minutes. Debug builds take up to a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Texts of [`LEN`] bytes.
fn texts() -> Vec<(&'static str, String)> {
    let units = [
        ("letters", "a"),
        ("two letters", "ab"),
        ("capitals", "A"),
        ("capitals and small", "aB"),
        ("digits", "7"),
        ("spaces", " "),
        ("newlines", "\n"),
        ("carriage returns", "\r\n"),
        ("mixed white space", "\t \n \u{a0}\u{3000}"),
        ("exclamation marks", "!"),
        ("apostrophes", "'"),
        ("contractions", "'s"),
        ("short words", " a"),
        ("emoji", "😀"),
        ("marks", "e\u{301}"),
        ("only marks", "\u{301}"),
        ("Chinese", "日本語"),
        ("Arabic", "السلام"),
        ("zero bytes", "\0"),
        ("angles", "<|"),
        ("ends of turns", "<|im_end|>"),
        ("beginnings of ends of turns", "<|im_end"),
        ("spelled bytes", "<0x0A>"),
        ("sentence piece's space", "▁"),
    ];
    let mut texts: Vec<_> = units.map(|(name, unit)| (name, unit.repeat(LEN / unit.len()))).into();
    texts.push(("spaces before a word", " ".repeat(LEN) + "x"));
    texts.push(("newlines before a word", "\n".repeat(LEN) + "x"));
    texts.push(("numbers in a word", "x1".repeat(LEN / 2) + " "));
    texts
}

fn check(name: &str, tokenizer: &Tokenizer) {
    let (mut slowest, mut slowest_text) = (Duration::ZERO, "");
    for (text_name, text) in texts() {
        for parse_special in [false, true] {
            let started = Instant::now();
            let options = EncodeOptions { add_special: false, parse_special };
            let ids = tokenizer.encode(&text, options).expect("every text has tokens");
            let elapsed = started.elapsed();
            assert!(elapsed < PATIENCE, "{name}: {text_name} took {elapsed:?}");
            if elapsed > slowest {
                (slowest, slowest_text) = (elapsed, text_name);
            }
            let options = DetokenizeOptions { render_special: true, at_text_start: true };
            let is_lossless = match tokenizer.kind() {
                Kind::Bpe => !text.contains('▁'),
                Kind::Spm => !text.contains('▁') && !parse_special,
                Kind::WordPiece | Kind::Unigram => false,
            };
            assert!(!is_lossless || tokenizer.decode(&ids, options) == text, "{name}: {text_name} comes back");
        }
    }
    eprintln!("{name}: slowest are {LEN} bytes of {slowest_text}, {slowest:?}");
}

#[test]
fn small_vocabularies() {
    let tokenizers: [(&str, Arc<Tokenizer>); 2] =
        [("byte-level", fixture::byte_level()), ("sentence piece", fixture::sentence_piece())];
    for (name, tokenizer) in tokenizers {
        check(name, &tokenizer);
    }
}

#[test]
fn real_vocabularies() {
    let names = ["llama-spm", "llama-bpe", "qwen2", "gpt-2", "deepseek-coder", "bert-bge"];
    for name in names {
        if let Some(tokenizer) = vocabularies::load(name) {
            check(name, &tokenizer);
        }
    }
}
