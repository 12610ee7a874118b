//! Long runs and other texts that make naive tokenizers slow: time grows with the text, not with its square.

use std::{fs, sync::Arc, time::Duration};

use text::{Cancelled, DetokenizeOptions, EncodeOptions, Kind, TextError, Tokenizer};

use crate::{fixture, references, vocabularies};

/// Bytes of each text.
const LEN: usize = 200_000;
/// Bytes of the largest ones.
const LARGE_LEN: usize = 1_000_000;
/// Of a processor. Quadratic time would take hours; a megabyte takes up to a second, in debug builds some more.
const PATIENCE: Duration = Duration::from_secs(20);

/// What this thread has used of a processor, whatever else the machine does; nothing where the system does not tell.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

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
        ("only marks", "\u{301}\u{323}"),
        ("ends of turns", "<|im_end|>"),
        ("a mixture", " a7😀\n\n  Bé<|im_end|>'s1234567日本\t"),
    ];
    let mut texts: Vec<_> = units.map(|(name, unit)| (name, unit.repeat(LARGE_LEN / unit.len()))).into();
    let mut random = random();
    texts.push(("random letters", (0..LARGE_LEN).map(|_| char::from(b'a' + (random() % 26) as u8)).collect()));
    let characters = (0..LARGE_LEN / 3).filter_map(|_| char::from_u32(random() % 0x11000));
    texts.push(("random characters", characters.filter(|c| *c != '▁').collect()));
    let bytes: Vec<u8> = (0..LARGE_LEN / 2).map(|_| random() as u8).collect();
    texts.push(("random bytes", String::from_utf8_lossy(&bytes).into_owned()));
    texts
}

/// The same numbers on every run (xorshift).
fn random() -> impl FnMut() -> u32 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    }
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
            let before = processor_time();
            let options = EncodeOptions { add_special: false, parse_special };
            let ids = tokenizer.encode(&text, options).expect("every text has tokens");
            let used = processor_time() - before;
            assert!(used < PATIENCE, "{name}: {text_name} took {used:?}");
            if used > slowest {
                (slowest, slowest_text) = (used, text_name);
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
    for name in ["llama-spm", "llama-bpe", "bert-bge"] {
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
