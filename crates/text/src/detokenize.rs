//! From tokens to text, one token at a time, in whole characters.

use std::sync::Arc;

use types::TokenId;

use crate::Tokenizer;

/// How tokens are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetokenizeOptions {
    /// Write control tokens by their names; else they are left out.
    pub render_special: bool,
    /// The tokens begin a text, so the space that the tokenizer put before the first word is taken away again. An
    /// answer continues a prompt: there it stays.
    pub at_text_start: bool,
}

/// Turns the tokens of one text into characters as they come.
///
/// What [`Detokenizer::push`] gives is valid text even where a character is spread over several tokens: its first
/// bytes, three at most, are held back until the last one is there.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    options: DetokenizeOptions,
    held: Vec<u8>,
    strip_space: bool,
}

impl Detokenizer {
    /// A detokenizer at the start of its tokens.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>, options: DetokenizeOptions) -> Self {
        let strip_space = options.at_text_start && tokenizer.invents_leading_space();
        Self { tokenizer, options, held: Vec::new(), strip_space }
    }

    /// The text that became certain with this token; often empty. Bytes that cannot be text become U+FFFD.
    #[must_use]
    pub fn push(&mut self, id: TokenId) -> String {
        push(&self.tokenizer, self.options, &mut self.strip_space, &mut self.held, id);
        take_text(&mut self.held)
    }

    /// Ends the text: a character that never became whole is one U+FFFD.
    #[must_use]
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        rest
    }
}

impl Tokenizer {
    /// The text of some tokens.
    #[must_use]
    pub fn decode(&self, ids: &[TokenId], options: DetokenizeOptions) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids, options)).into_owned()
    }

    /// The bytes of some tokens, which need not be text.
    #[must_use]
    pub fn decode_bytes(&self, ids: &[TokenId], options: DetokenizeOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut strip_space = options.at_text_start && self.invents_leading_space();
        for id in ids {
            push(self, options, &mut strip_space, &mut bytes, *id);
        }
        bytes
    }
}

/// Appends the bytes of one token.
fn push(tokenizer: &Tokenizer, options: DetokenizeOptions, strip_space: &mut bool, bytes: &mut Vec<u8>, id: TokenId) {
    if !options.render_special && tokenizer.is_special(id) {
        return;
    }
    let piece = tokenizer.piece(id);
    let is_special = tokenizer.is_special(id);
    let space = *strip_space && !is_special && piece.first() == Some(&b' ');
    bytes.extend(&piece[usize::from(space)..]);
    *strip_space &= piece.is_empty() || is_special;
}

/// Takes all of `bytes` but the beginning of a character at their end.
fn take_text(bytes: &mut Vec<u8>) -> String {
    let held_len = incomplete_len(bytes);
    let held = bytes.split_off(bytes.len() - held_len);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = held;
    text
}

/// How many bytes at the end may still become a character.
fn incomplete_len(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|b| b & 0xC0 != 0x80) else { return 0 };
    let candidate = &tail[lead..];
    match std::str::from_utf8(candidate) {
        Err(e) if e.error_len().is_none() => candidate.len(),
        _ => 0,
    }
}
