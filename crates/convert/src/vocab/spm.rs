//! SentencePiece vocabularies: pieces with scores, the tokens added to them.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Token, TokenType, TokenizerFiles,
    bpe::{self, AddedToken, added_tokens},
    checked_size, looks_special,
    sentencepiece::Model,
};
use crate::{ConvertError, json::Json};

const ADDED_SCORE: f32 = -1000.0;
const UNUSED_SCORE: f32 = -10_000.0;

/// The vocabulary of `tokenizer.model`, with `added_tokens.json` and `tokenizer_config.json`.
pub(super) fn of_sentencepiece(
    files: &TokenizerFiles<'_>,
    model: &Model,
    vocab_size: Option<usize>,
) -> Result<Vec<Token>, ConvertError> {
    let mut tokens: Vec<_> = (0..vocab_size.unwrap_or(model.pieces.len())).map(unused).collect();
    // Pieces beyond the model's vocabulary cannot be computed with.
    for (token, piece) in tokens.iter_mut().zip(&model.pieces) {
        *token = piece.clone();
    }
    if let Some(added) = Json::read_optional(&files.folder.join("added_tokens.json"))? {
        for (text, id) in added.value.as_object().into_iter().flatten() {
            let id = id.as_u64().ok_or_else(|| added.wrong(text, "a token id"))? as usize;
            add(&mut tokens, id, text.clone(), TokenType::UserDefined);
        }
    }
    let decoder = files.config.as_ref().and_then(|c| c.get("added_tokens_decoder")).and_then(Value::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        let (Ok(id), Some(text)) = (id.parse(), token.get("content").and_then(Value::as_str)) else { continue };
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        add_decided(&mut tokens, &AddedToken { id, text, special });
    }
    if decoder.is_none() {
        // Newer folders list them in `tokenizer.json` only.
        let added = files.tokenizer.as_ref().map(added_tokens).transpose()?;
        let unknown = |id: usize| tokens.get(id).is_some_and(|t| t.token_type == TokenType::Unknown);
        let added: Vec<_> = added.into_iter().flatten().filter(|t| !unknown(t.id)).collect();
        added.iter().for_each(|token| add_decided(&mut tokens, token));
    }
    Ok(tokens)
}

/// The vocabulary of a `tokenizer.json` that was made of a SentencePiece model. The scores are not in it, but the order of
/// the merges is, and only the order counts: each token's score is how early a merge makes it.
pub(super) fn of_tokenizer_json(tokenizer: &Json, vocab_size: Option<usize>) -> Result<Vec<Token>, ConvertError> {
    let (vocab, added) = (bpe::vocab(tokenizer)?, added_tokens(tokenizer)?);
    let largest_id = vocab.iter().map(|t| t.1).chain(added.iter().map(|t| t.id)).max().unwrap_or(0);
    let size = checked_size(tokenizer, largest_id, vocab_size)?;
    let ranks = merge_ranks(tokenizer)?;
    let mut tokens: Vec<_> = (0..size).map(unused).collect();
    for (text, id) in vocab {
        let token_type = if is_byte(text) { TokenType::Byte } else { TokenType::Normal };
        // What no merge makes comes after all merges; its score is never compared.
        let score = -(ranks.get(text).copied().unwrap_or(ranks.len()) as f32);
        tokens[id] = Token { text: text.to_owned(), score, token_type };
    }
    let unknown = tokenizer.get("model").and_then(|m| m.get("unk_token")).and_then(Value::as_str);
    for token in added {
        add_decided(&mut tokens, &token);
        if Some(token.text) == unknown {
            tokens[token.id].token_type = TokenType::Unknown;
        }
    }
    Ok(tokens)
}

fn merge_ranks(tokenizer: &Json) -> Result<HashMap<String, usize>, ConvertError> {
    let merges = tokenizer.get("model").and_then(|m| m.get("merges")).and_then(Value::as_array);
    let merges = merges.ok_or_else(|| tokenizer.wrong("model.merges", "a list of pairs"))?;
    let mut ranks = HashMap::with_capacity(merges.len());
    for merge in merges {
        let (a, b) = bpe::merge(merge).ok_or_else(|| tokenizer.wrong("model.merges", "a list of pairs"))?;
        let rank = ranks.len();
        ranks.entry(a + &b).or_insert(rank);
    }
    Ok(ranks)
}

/// A token that stands for nothing.
pub(super) fn unused(id: usize) -> Token {
    Token { text: format!("[PAD{id}]"), score: UNUSED_SCORE, token_type: TokenType::Unused }
}

fn add_decided(tokens: &mut [Token], token: &AddedToken<'_>) {
    if token.special || looks_special(token.text) {
        add(tokens, token.id, token.text.to_owned(), TokenType::Control);
    } else {
        add(tokens, token.id, token.text.replace('\u{2581}', " "), TokenType::UserDefined);
    }
}

fn add(tokens: &mut [Token], id: usize, text: String, token_type: TokenType) {
    // Tokens beyond the model's vocabulary cannot be computed with.
    if let Some(token) = tokens.get_mut(id) {
        *token = Token { text, score: ADDED_SCORE, token_type };
    }
}

/// Whether a token stands for a byte, e.g. `<0x0A>`.
pub(super) fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    digits.is_some_and(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}
