//! Small vocabularies, made here, so that these tests need no data.

use std::sync::{Arc, LazyLock};

use gguf::{Array, Metadata, Value};
use proptest::{prelude::*, test_runner::RngSeed};
use text::Tokenizer;

/// The same cases on every run, and enough of them.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() }
}

/// A vocabulary in the making.
struct Builder {
    texts: Vec<String>,
    types: Vec<u64>,
    scores: Vec<f64>,
    metadata: Metadata,
}

const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const BYTE: u64 = 6;

impl Builder {
    fn new(model: &str) -> Self {
        let mut metadata = Metadata::default();
        metadata.insert("tokenizer.ggml.model", Value::String(model.to_owned()));
        Self { texts: Vec::new(), types: Vec::new(), scores: Vec::new(), metadata }
    }

    /// Adds a token; the later, the worse its score.
    fn token(&mut self, text: impl Into<String>, kind: u64) -> u64 {
        let id = self.texts.len();
        self.texts.push(text.into());
        self.types.push(kind);
        self.scores.push(-(id as f64));
        id as u64
    }

    fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }

    fn build(mut self) -> Metadata {
        for (key, array) in [
            ("tokens", Array::String(std::mem::take(&mut self.texts).into())),
            ("token_type", Array::Uint(std::mem::take(&mut self.types))),
            ("scores", Array::Float(std::mem::take(&mut self.scores))),
        ] {
            self.set(key, Value::Array(array));
        }
        self.metadata
    }
}

/// The printable character that stands for a byte in byte-level BPE.
fn byte_char(byte: u8) -> char {
    let prints = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if prints(&byte) {
        return char::from(byte);
    }
    let num_hidden_before = (0..byte).filter(|b| !prints(b)).count() as u32;
    char::from_u32(0x100 + num_hidden_before).expect("a character below U+0200")
}

/// Byte-level BPE with a few merges, two control tokens and a user-defined one.
pub(crate) fn byte_level_metadata() -> Metadata {
    let mut builder = Builder::new("gpt2");
    for byte in 0..=u8::MAX {
        builder.token(byte_char(byte), NORMAL);
    }
    // The last two are halves of characters: of the first bytes of emoji, and of the end of one with the next's start.
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "Ċ Ċ", "Ġ Ġ", "Ã ©", "ð Ł", "ðŁ ĺ", "Ģ ð"];
    for merge in merges {
        builder.token(merge.replace(' ', ""), NORMAL);
    }
    let end = builder.token("<|im_end|>", CONTROL);
    builder.token("<|im_start|>", CONTROL);
    builder.token("<tool>", USER_DEFINED);
    builder.set("pre", Value::String("gpt-2".to_owned()));
    builder.set("eos_token_id", Value::Uint(end));
    builder.set("merges", Value::Array(Array::String(merges.iter().collect())));
    builder.build()
}

/// SentencePiece-style BPE with byte fallback.
pub(crate) fn sentence_piece_metadata() -> Metadata {
    let mut builder = Builder::new("llama");
    builder.token("<unk>", UNKNOWN);
    builder.token("<s>", CONTROL);
    builder.token("</s>", CONTROL);
    for byte in 0..=u8::MAX {
        builder.token(format!("<0x{byte:02X}>"), BYTE);
    }
    for text in ["ll", "he", "▁w", "hell", "hello", "▁▁", "▁hello", "▁", "h", "e", "l", "o", "w", "é", "日"]
    {
        builder.token(text, NORMAL);
    }
    builder.token("<tool>", USER_DEFINED);
    builder.build()
}

fn build(metadata: &Metadata) -> Arc<Tokenizer> {
    Arc::new(Tokenizer::from_metadata(metadata).expect("a sound vocabulary"))
}

/// [`byte_level_metadata`], built.
pub(crate) fn byte_level() -> Arc<Tokenizer> {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| build(&byte_level_metadata()));
    Arc::clone(&TOKENIZER)
}

/// [`sentence_piece_metadata`], built.
pub(crate) fn sentence_piece() -> Arc<Tokenizer> {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| build(&sentence_piece_metadata()));
    Arc::clone(&TOKENIZER)
}

/// Text of every kind: any characters, and those that the vocabularies know. `▁` is left out: in SentencePiece's
/// vocabularies it cannot be told from a space.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "hello",
        " world",
        "\n\n",
        "  ",
        "é",
        "e\u{301}",
        "😀",
        "🇩🇪",
        "日本",
        "<tool>",
        "<|im_end|>",
        "</s>",
        "<0x0A>",
        "\0",
        "\u{feff}",
        "\u{200b}",
        "12345",
        "\r\n",
        "\t",
        "'s",
    ]);
    let part = prop_oneof![known.prop_map(str::to_owned), "\\PC{0,6}", any::<char>().prop_map(String::from)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().replace('▁', ""))
}
