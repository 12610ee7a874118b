//! Byte-level byte-pair encoding from `tokenizer.json`.

use serde_json::Value;

use super::{Token, TokenType, checked_size, looks_special};
use crate::{ConvertError, json::Json};

/// An entry of `added_tokens`.
pub(super) struct AddedToken<'a> {
    pub(super) id: usize,
    pub(super) text: &'a str,
    pub(super) special: bool,
}

/// The entries of `added_tokens`.
pub(super) fn added_tokens(tokenizer: &Json) -> Result<Vec<AddedToken<'_>>, ConvertError> {
    let list = tokenizer.get("added_tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let parse = |entry: &'_ Value| -> Option<_> {
        let (id, text) = (entry.get("id")?.as_u64()? as usize, entry.get("content")?.as_str()?.len());
        Some((id, text))
    };
    if list.iter().any(|entry| parse(entry).is_none()) {
        return Err(tokenizer.wrong("added_tokens", "a list of tokens with `id` and `content`"));
    }
    Ok(list.iter().filter_map(added_token).collect())
}

fn added_token(entry: &Value) -> Option<AddedToken<'_>> {
    Some(AddedToken {
        id: entry.get("id")?.as_u64()? as usize,
        text: entry.get("content")?.as_str()?,
        special: entry.get("special").and_then(Value::as_bool).unwrap_or(false),
    })
}

/// The ids of the model's own vocabulary.
pub(super) fn vocab(tokenizer: &Json) -> Result<Vec<(&str, usize)>, ConvertError> {
    let vocab = tokenizer.get("model").and_then(|m| m.get("vocab")).and_then(Value::as_object);
    let pairs = vocab.map(|v| v.iter().map(|(text, id)| Some((text.as_str(), id.as_u64()? as usize))).collect());
    pairs.flatten().ok_or_else(|| tokenizer.wrong("model.vocab", "an object of token ids"))
}

/// All tokens by id; ids that nothing has are unused.
pub(super) fn tokens(tokenizer: &Json, vocab_size: Option<usize>) -> Result<Vec<Token>, ConvertError> {
    let (vocab, added) = (vocab(tokenizer)?, added_tokens(tokenizer)?);
    let largest_id = vocab.iter().map(|t| t.1).chain(added.iter().map(|t| t.id)).max().unwrap_or(0);
    let size = checked_size(tokenizer, largest_id, vocab_size)?;
    let unused = |id| Token { text: format!("[PAD{id}]"), score: 0.0, token_type: TokenType::Unused };
    let mut tokens: Vec<_> = (0..size).map(unused).collect();
    for (text, id) in vocab {
        tokens[id] = Token { text: text.to_owned(), score: 0.0, token_type: TokenType::Normal };
    }
    for AddedToken { id, text, special } in added {
        tokens[id] = if special || looks_special(text) {
            Token { text: text.to_owned(), score: 0.0, token_type: TokenType::Control }
        } else {
            Token { text: text.replace('\u{2581}', " "), score: 0.0, token_type: TokenType::UserDefined }
        };
    }
    Ok(tokens)
}

/// The merges, each as two parts with a space between them; spaces within a part are written as byte-level BPE does.
pub(super) fn merges(tokenizer: &Json) -> Result<Vec<String>, ConvertError> {
    let list = tokenizer.get("model").and_then(|m| m.get("merges")).and_then(Value::as_array);
    let merges = list.map(|l| l.iter().map(|m| merge(m).map(|(a, b)| format!("{a} {b}"))).collect());
    merges.flatten().ok_or_else(|| tokenizer.wrong("model.merges", "a list of pairs"))
}

/// The two parts of a merge, in the older form `"a b"` or the newer `["a", "b"]`.
pub(super) fn merge(merge: &Value) -> Option<(String, String)> {
    if let Some(text) = merge.as_str() {
        return text.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    }
    let part = |i| merge.get(i).and_then(Value::as_str).map(|p: &str| p.replace(' ', "\u{120}"));
    Some((part(0)?, part(1)?))
}
