//! Byte-pair merges of characters with bytes as the last resort, written as merges: Gemma 4's form of a SentencePiece model.

use serde_json::Value;

use super::{Token, TokenType, bpe, checked_size, spm};
use crate::{ConvertError, arch::VocabRules, json::Json};

/// Merges decide; the scores are there for readers that expect some.
const SCORE: f32 = -1000.0;

/// All tokens by id.
pub(super) fn tokens(
    tokenizer: &Json,
    rules: VocabRules,
    vocab_size: Option<usize>,
) -> Result<Vec<Token>, ConvertError> {
    let (vocab, added) = (bpe::vocab(tokenizer)?, bpe::added_tokens(tokenizer)?);
    let largest_id = vocab.iter().map(|t| t.1).chain(added.iter().map(|t| t.id)).max().unwrap_or(0);
    let size = checked_size(tokenizer, largest_id, vocab_size)?;
    let unused = |id| Token { text: format!("[PAD{id}]"), score: SCORE, token_type: TokenType::Unused };
    let mut tokens: Vec<_> = (0..size).map(unused).collect();
    for (text, id) in vocab {
        let token_type = if spm::is_byte(text) { TokenType::Byte } else { TokenType::Normal };
        tokens[id] = Token { text: text.to_owned(), score: SCORE, token_type };
    }
    let in_vocab =
        |text: &str| tokenizer.get("model").and_then(|m| m.get("vocab")?.get(text)).is_some_and(Value::is_u64);
    for token in added {
        let token_type = match token.special {
            // A chat's reader looks for them in the text.
            true if rules.visible.contains(&token.text) => TokenType::UserDefined,
            true => TokenType::Control,
            false if in_vocab(token.text) => continue,
            false => TokenType::UserDefined,
        };
        tokens[token.id] = Token { text: token.text.to_owned(), score: SCORE, token_type };
    }
    Ok(tokens)
}
