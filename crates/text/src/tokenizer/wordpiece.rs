//! WordPiece (`bert`): words are taken from the front, the longest token first.

use gguf::Metadata;
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

use super::vocab::{TokenType, Vocab};
use crate::{Cancelled, TextError};

const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";
/// Longer words, in characters, are unknown.
const MAX_WORD_CHARS: usize = 100;
/// In a GGUF, tokens that begin a word carry this and the others lost their `##`.
const WORD_START: &str = "▁";
/// After so many characters, it is asked whether anybody still waits.
const CHARS_PER_CHECK: usize = 1 << 12;

/// Normalizer and words of BERT.
pub(crate) struct WordPiece {
    lowercase: bool,
    strip_accents: bool,
    unknown: u32,
}

impl WordPiece {
    pub(crate) fn new(metadata: &Metadata, unknown: Option<u32>) -> Result<Self, TextError> {
        let unknown = unknown.ok_or_else(|| TextError::vocabulary("a WordPiece vocabulary needs an unknown token"))?;
        let lowercase = metadata.bool(LOWERCASE)?.unwrap_or(true);
        Ok(Self { lowercase, strip_accents: metadata.bool(STRIP_ACCENTS)?.unwrap_or(lowercase), unknown })
    }

    /// Appends the tokens of `text`.
    pub(crate) fn encode(
        &self,
        cancelled: &Cancelled,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let cleaned = text.chars().filter(|c| !is_dropped(*c)).flat_map(set_apart);
        let mut words = Words { model: self, vocab, word: WORD_START.to_owned(), num_chars: 0, out };
        if self.strip_accents {
            let decomposed = cleaned.nfd().map(|(c, _)| c);
            words.take_all(cancelled, decomposed.filter(|c| c.is_ascii() || !c.is_mark_nonspacing()))
        } else {
            words.take_all(cancelled, cleaned)
        }
    }
}

/// The words of a text as they come.
struct Words<'a> {
    model: &'a WordPiece,
    vocab: &'a Vocab,
    /// The word so far, behind [`WORD_START`].
    word: String,
    num_chars: usize,
    out: &'a mut Vec<u32>,
}

impl Words<'_> {
    fn take_all(&mut self, cancelled: &Cancelled, chars: impl Iterator<Item = char>) -> Result<(), TextError> {
        for (idx, c) in chars.enumerate() {
            if idx.is_multiple_of(CHARS_PER_CHECK) {
                cancelled.check()?;
            }
            if self.model.lowercase {
                c.to_lowercase().for_each(|c| self.take(c));
            } else {
                self.take(c);
            }
        }
        self.end();
        Ok(())
    }

    fn take(&mut self, c: char) {
        if c.is_whitespace() {
            self.end();
        } else if is_punctuation(c) {
            self.end();
            self.push(c);
            self.end();
        } else {
            self.push(c);
        }
    }

    fn push(&mut self, c: char) {
        self.num_chars += 1;
        // What is longer is unknown, whatever follows.
        if self.num_chars <= MAX_WORD_CHARS {
            self.word.push(c);
        }
    }

    /// Appends the tokens of the word, if there is one, and begins the next.
    fn end(&mut self) {
        if self.num_chars > 0 {
            let first = self.out.len();
            if self.num_chars > MAX_WORD_CHARS || !self.pieces() {
                self.out.truncate(first);
                self.out.push(self.model.unknown);
            }
        }
        self.word.truncate(WORD_START.len());
        self.num_chars = 0;
    }

    /// Appends the tokens of the word; `false` when there are none for a part of it.
    fn pieces(&mut self) -> bool {
        let mut start = 0;
        while start < self.word.len() {
            let Some((id, end)) = self.longest(start) else { return false };
            self.out.push(id);
            start = end;
        }
        true
    }

    /// The longest token at `start` of the word, and where it ends.
    fn longest(&self, start: usize) -> Option<(u32, usize)> {
        let Self { vocab, word, .. } = self;
        let is_first = start == 0;
        if !is_first && word[start..].starts_with(WORD_START) {
            return None; // The user's own character, not the mark.
        }
        let shortest = start + if is_first { WORD_START.len() } else { 0 };
        let mut end = word.len().min(start + vocab.max_text_bytes);
        while end > shortest {
            if word.is_char_boundary(end) {
                let named = vocab.id(&word[start..end]).filter(|id| vocab.types[*id as usize] == TokenType::Normal);
                // Tokens that users made begin words without a mark.
                let made = || {
                    let id = vocab.id(&word[WORD_START.len()..end])?;
                    matches!(vocab.types[id as usize], TokenType::UserDefined | TokenType::Unused).then_some(id)
                };
                if let Some(id) = named.or_else(|| made().filter(|_| is_first)) {
                    return Some((id, end));
                }
            }
            end -= 1;
        }
        None
    }
}

/// BERT's cleaning: what is no text.
fn is_dropped(c: char) -> bool {
    match c {
        ' '..='~' | '\t' | '\n' | '\r' => false,
        _ => c == '\u{fffd}' || c.is_other(),
    }
}

/// Chinese characters stand alone.
fn set_apart(c: char) -> impl Iterator<Item = char> {
    let space = is_chinese(c).then_some(' ');
    [space, Some(c), space].into_iter().flatten()
}

/// The blocks of Chinese characters, as BERT's own program names them.
fn is_chinese(c: char) -> bool {
    matches!(
        c,
        '\u{4E00}'..='\u{9FFF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{20000}'..='\u{2A6DF}'
            | '\u{2A700}'..='\u{2B73F}'
            | '\u{2B740}'..='\u{2B81F}'
            | '\u{2B920}'..='\u{2CEAF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{2F800}'..='\u{2FA1F}'
    )
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { c.is_punctuation() }
}
