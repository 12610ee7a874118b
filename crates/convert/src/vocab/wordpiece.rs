//! WordPiece vocabularies, as encoders have them: pieces that continue a word say so with `##`.

use super::{Token, TokenType, bpe};
use crate::{ConvertError, json::Json};

/// The name of the rules before the pieces; readers of the format take the rules from the kind of vocabulary.
pub(super) const PRE: &str = "bert-bge";

/// All tokens by id. Pieces that begin a word are marked instead, with a space.
pub(super) fn tokens(tokenizer: &Json, vocab_size: Option<usize>) -> Result<Vec<Token>, ConvertError> {
    let mut tokens = bpe::tokens(tokenizer, vocab_size)?;
    for Token { text, .. } in tokens.iter_mut().filter(|t| t.token_type != TokenType::Control) {
        *text = text.strip_prefix("##").map_or_else(|| format!("\u{2581}{text}"), str::to_owned);
    }
    Ok(tokens)
}
