//! Long runs and other texts that make naive tokenizers slow: time grows with the text, not with its square.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use text::{Cancelled, DetokenizeOptions, EncodeOptions, Kind, TextError, Tokenizer};

use crate::{fixture, references, vocabularies};

/// Bytes of each text.
const LEN: usize = 200_000;
/// Bytes of the largest ones.
const LARGE_LEN: usize = 1_000_000;
/// Quadratic time would take hours. Debug builds take up to a second, on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The worst of them, a megabyte each, and a mixture.
fn large_texts() -> Vec<(&'static str, String)> {
    let units = [
        ("spaces", " "),
        ("letters", "a"),
        ("digits", "7"),
        ("emoji", "😀"),
        ("ends of turns", "<|im_end|>"),
        ("a mixture", " a7😀\n\n  Bé<|im_end|>'s1234567日本\t"),
    ];
    units.map(|(name, unit)| (name, unit.repeat(LARGE_LEN / unit.len()))).into()
}

fn check(name: &str, tokenizer: &Tokenizer) {
    check_texts(name, tokenizer, texts(), &[false, true]);
}

/// The largest texts, as prompts are read.
fn check_large(name: &str, tokenizer: &Tokenizer) {
    check_texts(name, tokenizer, large_texts(), &[true]);
}

fn check_texts(name: &str, tokenizer: &Tokenizer, texts: Vec<(&'static str, String)>, parse_special: &[bool]) {
    let (mut slowest, mut slowest_text) = (Duration::ZERO, "");
    for (text_name, text) in texts {
        for parse_special in parse_special.iter().copied() {
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
    eprintln!("{name}: slowest are {slowest_text}, {slowest:?}");
}

#[test]
fn small_vocabularies() {
    let tokenizers: [(&str, Arc<Tokenizer>); 2] =
        [("byte-level", fixture::byte_level()), ("sentence piece", fixture::sentence_piece())];
    for (name, tokenizer) in tokenizers {
        check(name, &tokenizer);
        check_large(name, &tokenizer);
    }
    for (name, lowercase) in [("unigram", None), ("word_piece", Some(true))] {
        check_large(name, &references::vocabulary(name, lowercase));
    }
}

#[test]
fn large_texts_of_real_vocabularies() {
    for name in ["llama-spm", "llama-bpe"] {
        if let Some(tokenizer) = vocabularies::load(name) {
            check_large(name, &tokenizer);
        }
    }
}

#[test]
fn what_nobody_waits_for_ends_early() {
    let text = " a7é".repeat(100_000);
    let spm = fixture::sentence_piece();
    let bpe = fixture::byte_level();
    let [unigram, word_piece] =
        [("unigram", None), ("word_piece", Some(true))].map(|(name, lower)| references::vocabulary(name, lower));
    for tokenizer in [&*spm, &*bpe, &unigram, &word_piece] {
        let cancelled = Cancelled::default();
        let ids = tokenizer.encode_unless(&cancelled, &text, EncodeOptions::default()).expect("tokens");
        assert_eq!(ids, tokenizer.encode(&text, EncodeOptions::default()).expect("tokens"));
        cancelled.cancel();
        let ended = tokenizer.encode_unless(&cancelled, &text, EncodeOptions::default());
        assert!(matches!(ended, Err(TextError::Cancelled)), "{:?}", tokenizer.kind());
        // While it works: the work can only end early, never late, so either result is right; most often it is this.
        let cancelled = Cancelled::default();
        let ended = std::thread::scope(|scope| {
            let work = scope.spawn(|| tokenizer.encode_unless(&cancelled, &text.repeat(10), EncodeOptions::default()));
            cancelled.cancel();
            work.join().expect("no panic")
        });
        assert!(matches!(ended, Err(TextError::Cancelled)) || ended.is_ok_and(|found| found.len() >= ids.len()));
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
