//! Unigram vocabularies, as multilingual encoders have them: pieces with scores, and a compiled map of characters that is
//! applied before. From `sentencepiece.bpe.model`, or from `tokenizer.json`.

use gguf::{Array, Metadata, Value, ValueType};
use serde_json::Value as JsonValue;

use super::{Token, TokenType, bpe::added_tokens, checked_size, sentencepiece::Model, spm::unused};
use crate::{ConvertError, json::Json};

/// Tokens by id, and what is done to a text before they are looked up.
pub(super) struct Unigram {
    pub(super) tokens: Vec<Token>,
    adds_space_prefix: bool,
    removes_extra_spaces: bool,
    /// Source: SentencePiece's `Normalizer`; empty where characters stay what they are.
    charsmap: Vec<u8>,
}

impl Unigram {
    /// Of a SentencePiece model. The checkpoints' ids are fairseq's: four tokens stand before its pieces, of which the first
    /// three are left out.
    pub(super) fn of_sentencepiece(model: &Model, vocab_size: Option<usize>) -> Self {
        let control = |text: &str, token_type| Token { text: text.to_owned(), score: 0.0, token_type };
        let mut tokens = vec![
            control("<s>", TokenType::Control),
            control("<pad>", TokenType::Control),
            control("</s>", TokenType::Control),
            control("<unk>", TokenType::Unknown),
        ];
        let size = vocab_size.unwrap_or(0).max(model.pieces.len());
        let pieces = (3..size - 1).map(|idx| model.pieces.get(idx).cloned().unwrap_or_else(|| unused(idx)));
        tokens.extend(pieces);
        let normalizer = &model.normalizer;
        Self {
            tokens,
            adds_space_prefix: normalizer.adds_space_prefix,
            removes_extra_spaces: normalizer.removes_extra_spaces,
            charsmap: normalizer.charsmap.clone(),
        }
    }

    pub(super) fn of_tokenizer_json(tokenizer: &Json, vocab_size: Option<usize>) -> Result<Self, ConvertError> {
        let model = tokenizer.get("model");
        let pieces = model.and_then(|m| m.get("vocab")).and_then(JsonValue::as_array);
        let piece = |entry: &JsonValue| {
            let (text, score) = (entry.get(0)?.as_str()?.to_owned(), entry.get(1)?.as_f64()? as f32);
            Some(Token { text, score, token_type: TokenType::Normal })
        };
        let pieces: Option<Vec<Token>> = pieces.and_then(|p| p.iter().map(piece).collect());
        let mut tokens = pieces.ok_or_else(|| tokenizer.wrong("model.vocab", "a list of pieces with scores"))?;
        let added = added_tokens(tokenizer)?;
        let largest_id = added.iter().map(|t| t.id).max().unwrap_or(0).max(tokens.len().saturating_sub(1));
        let size = checked_size(tokenizer, largest_id, vocab_size)?;
        tokens.extend((tokens.len()..size).map(unused));
        for token in added {
            tokens[token.id] = Token {
                text: token.text.to_owned(),
                score: if tokens[token.id].token_type == TokenType::Normal { tokens[token.id].score } else { 0.0 },
                token_type: if token.special { TokenType::Control } else { TokenType::UserDefined },
            };
        }
        let unknown = model.and_then(|m| m.get("unk_id")).and_then(JsonValue::as_u64);
        if let Some(token) = unknown.and_then(|id| tokens.get_mut(id as usize)) {
            token.token_type = TokenType::Unknown;
        }
        let (normalizer, pre) = (tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer"));
        let charsmap = normalizer.and_then(|n| find(n, "normalizers", "Precompiled")).map(|n| charsmap(tokenizer, n));
        let metaspace = pre.and_then(|p| find(p, "pretokenizers", "Metaspace"));
        let never = |step: &JsonValue| step.get("prepend_scheme").and_then(JsonValue::as_str) == Some("never");
        Ok(Self {
            tokens,
            adds_space_prefix: metaspace.is_some_and(|step| !never(step)),
            removes_extra_spaces: pre.and_then(|p| find(p, "pretokenizers", "WhitespaceSplit")).is_some()
                || normalizer.and_then(|n| find(n, "normalizers", "Replace")).is_some(),
            charsmap: charsmap.transpose()?.unwrap_or_default(),
        })
    }

    /// Writes all but the tokens themselves.
    pub(super) fn set(&self, metadata: &mut Metadata) {
        metadata.insert("tokenizer.ggml.add_space_prefix", Value::Bool(self.adds_space_prefix));
        metadata.insert("tokenizer.ggml.remove_extra_whitespaces", Value::Bool(self.removes_extra_spaces));
        if !self.charsmap.is_empty() {
            let bytes = self.charsmap.iter().map(|byte| u64::from(*byte)).collect();
            let (key, value) = ("tokenizer.ggml.precompiled_charsmap", Value::Array(Array::Uint(bytes)));
            metadata.insert_as(key, value, ValueType::U8);
        }
    }
}

/// The step of this type, itself or in a sequence.
fn find<'a>(step: &'a JsonValue, sequence: &str, wanted: &str) -> Option<&'a JsonValue> {
    if step.get("type").and_then(JsonValue::as_str) == Some(wanted) {
        return Some(step);
    }
    step.get(sequence)?.as_array()?.iter().find_map(|step| find(step, sequence, wanted))
}

fn charsmap(tokenizer: &Json, step: &JsonValue) -> Result<Vec<u8>, ConvertError> {
    let text = step.get("precompiled_charsmap").and_then(JsonValue::as_str).unwrap_or_default();
    base64(text).ok_or_else(|| {
        ConvertError::invalid(&tokenizer.path, "has a `precompiled_charsmap` that is not written in base64")
    })
}

/// Decodes base64 with its padding. Source: RFC 4648.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let value = |digit: &u8| match digit {
        b'A'..=b'Z' => Some(u32::from(digit - b'A')),
        b'a'..=b'z' => Some(u32::from(digit - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(digit - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let bits = group.iter().try_fold(0, |bits, digit| Some(bits << 6 | value(digit)?))?;
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        out.extend(&bytes[1..group.len()]);
    }
    (digits.len() % 4 != 1).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("/+8="), Some(vec![0xff, 0xef]));
        assert_eq!((base64("Zm9v*"), base64("Z")), (None, None));
    }
}
