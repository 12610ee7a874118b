//! A model's vocabulary: from `tokenizer.model` or `tokenizer.json` to `tokenizer.ggml.*`.

mod bpe;
mod characters;
mod pre;
mod sentencepiece;
mod special;
mod spm;
mod unigram;
mod wordpiece;

use std::path::Path;

use gguf::{Array, Metadata, Value};

use self::unigram::Unigram;
use crate::{ConvertError, arch::VocabRules, config::Config, json::Json};

const MAX_TOKENS: usize = 1 << 22;

/// What a token is, by the numbers of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token of the result.
#[derive(Clone, Debug)]
pub(super) struct Token {
    text: String,
    score: f32,
    token_type: TokenType,
}

/// The tokenizer's files of a folder.
pub(super) struct TokenizerFiles<'a> {
    folder: &'a Path,
    /// `tokenizer.json`.
    tokenizer: Option<Json>,
    /// `tokenizer_config.json`.
    config: Option<Json>,
}

/// Writes the vocabulary of a folder. `pre` names the pre-tokenizer in place of the one that is found.
pub(crate) fn set_vocab(
    folder: &Path,
    config: &Config,
    arch: (&str, VocabRules),
    pre: Option<&str>,
    metadata: &mut Metadata,
) -> Result<(), ConvertError> {
    let tokenizer = Json::read_optional(&folder.join("tokenizer.json"))?;
    let tokenizer_config = Json::read_optional(&folder.join("tokenizer_config.json"))?;
    let files = TokenizerFiles { folder, tokenizer, config: tokenizer_config };
    let (arch, rules) = arch;
    let vocab_size = config.json.size("vocab_size")?.filter(|&n| n <= MAX_TOKENS);
    let tokens = match Kind::of(&files, rules, vocab_size)? {
        Kind::SentencePiece(model) => {
            set_model(metadata, "llama", "default");
            spm::of_sentencepiece(&files, &model, vocab_size)?
        }
        Kind::Characters(tokenizer, name) => {
            metadata.insert("tokenizer.ggml.model", Value::String(name.to_owned()));
            let merges = bpe::merges(tokenizer)?;
            metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(merges.into())));
            characters::tokens(tokenizer, rules, vocab_size)?
        }
        Kind::ByteFallback(tokenizer) => {
            set_model(metadata, "llama", "default");
            spm::of_tokenizer_json(tokenizer, vocab_size)?
        }
        Kind::Bpe(tokenizer) => {
            let pre = pre.map_or_else(|| pre::detect(tokenizer, arch), |name| Ok(name.to_owned()))?;
            set_model(metadata, "gpt2", &pre);
            let merges = bpe::merges(tokenizer)?;
            metadata.insert("tokenizer.ggml.merges", Value::Array(Array::String(merges.into())));
            bpe::tokens(tokenizer, vocab_size)?
        }
        Kind::Unigram(unigram) => {
            set_model(metadata, "t5", "default");
            unigram.set(metadata);
            unigram.tokens
        }
        Kind::WordPiece(tokenizer) => {
            set_model(metadata, "bert", pre.unwrap_or(wordpiece::PRE));
            wordpiece::tokens(tokenizer, vocab_size)?
        }
    };
    let name = metadata.str("tokenizer.ggml.model")?;
    let is_spm = matches!(name, Some("llama" | "t5")) || name == rules.merges_of_characters;
    set_tokens(metadata, &tokens, is_spm);
    special::set(&files, config, rules, tokens.len(), metadata)?;
    if rules.adds_bos {
        metadata.insert("tokenizer.ggml.add_bos_token", Value::Bool(true));
    }
    set_space_prefix(&files, rules, is_spm, metadata)
}

/// Which kind of tokenizer a folder has.
enum Kind<'a> {
    /// `tokenizer.model` of SentencePiece.
    SentencePiece(sentencepiece::Model),
    /// The same, as `tokenizer.json` only: byte-pair merges over characters, bytes as the last resort.
    ByteFallback(&'a Json),
    /// The same, written as merges under a name of its own.
    Characters(&'a Json, &'static str),
    /// Byte-level byte-pair encoding.
    Bpe(&'a Json),
    /// Pieces with scores, of which the likeliest are chosen.
    Unigram(Unigram),
    /// Pieces of words, the longest first.
    WordPiece(&'a Json),
}

impl<'a> Kind<'a> {
    fn of(files: &'a TokenizerFiles<'_>, rules: VocabRules, vocab_size: Option<usize>) -> Result<Self, ConvertError> {
        let path = files.folder.join("tokenizer.model");
        if path.is_file() {
            match sentencepiece::read(&path) {
                Ok(model) => return Ok(Self::SentencePiece(model)),
                // A file of another tool may have this name; `tokenizer.json` then decides.
                Err(error) if files.tokenizer.is_none() => return Err(error),
                Err(_) => {}
            }
        }
        let path = files.folder.join("sentencepiece.bpe.model");
        if path.is_file() {
            return Ok(Self::Unigram(Unigram::of_sentencepiece(&sentencepiece::read(&path)?, vocab_size)));
        }
        let Some(tokenizer) = &files.tokenizer else {
            let what = "has neither tokenizer.model nor tokenizer.json: save the tokenizer into the same folder";
            return Err(ConvertError::invalid(files.folder, what));
        };
        let model = tokenizer.get("model");
        let kind = model.and_then(|m| m.get("type")).and_then(|t| t.as_str());
        match kind {
            Some("WordPiece") => return Ok(Self::WordPiece(tokenizer)),
            Some("Unigram") => return Ok(Self::Unigram(Unigram::of_tokenizer_json(tokenizer, vocab_size)?)),
            None | Some("BPE") => {}
            Some(other) => {
                let what = format!("has a tokenizer of type `{other}`; BPE, WordPiece and Unigram are read");
                return Err(ConvertError::invalid(&tokenizer.path, what));
            }
        }
        let falls_back = model.and_then(|m| m.get("byte_fallback")).and_then(|b| b.as_bool()) == Some(true);
        Ok(match rules.merges_of_characters {
            Some(name) if falls_back => Self::Characters(tokenizer, name),
            None if falls_back => Self::ByteFallback(tokenizer),
            _ => Self::Bpe(tokenizer),
        })
    }
}

fn set_model(metadata: &mut Metadata, model: &str, pre: &str) {
    metadata.insert("tokenizer.ggml.model", Value::String(model.to_owned()));
    metadata.insert("tokenizer.ggml.pre", Value::String(pre.to_owned()));
}

fn set_tokens(metadata: &mut Metadata, tokens: &[Token], with_scores: bool) {
    let texts = tokens.iter().map(|t| &t.text).collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    let types = tokens.iter().map(|t| t.token_type as i64).collect();
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::Int(types)));
    if with_scores {
        let scores = tokens.iter().map(|t| f64::from(t.score)).collect();
        metadata.insert("tokenizer.ggml.scores", Value::Array(Array::Float(scores)));
    }
}

fn set_space_prefix(
    files: &TokenizerFiles<'_>,
    rules: VocabRules,
    is_spm: bool,
    metadata: &mut Metadata,
) -> Result<(), ConvertError> {
    let copied = match &files.config {
        Some(config) if rules.copies_space_prefix => config.bool("add_prefix_space")?,
        _ => None,
    };
    if let Some(add) = copied.or(rules.add_space_prefix.filter(|_| is_spm)) {
        metadata.insert("tokenizer.ggml.add_space_prefix", Value::Bool(add));
    }
    Ok(())
}

/// Whether a token is one of a chat format even if nothing says that it is special.
fn looks_special(text: &str) -> bool {
    let within = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || within("<|", "|>")
        || within("<｜", "｜>")
        || within("<unused", ">")
}

/// The vocabulary's size: what the configuration says, or one more than the largest id; every id must be below.
fn checked_size(json: &Json, largest_id: usize, vocab_size: Option<usize>) -> Result<usize, ConvertError> {
    let size = vocab_size.unwrap_or(largest_id + 1);
    if largest_id >= size.min(MAX_TOKENS) {
        let what = format!("has a token of id {largest_id}, but config.json says `vocab_size` {size}");
        return Err(ConvertError::invalid(&json.path, what));
    }
    Ok(size)
}
