//! Byte-level BPE (`gpt2`) and BPE over raw characters (`gemma4` and its like): words from the pre-tokenizer, then
//! the merges of the file.

use gguf::Metadata;
use tokenizers::{Model as _, models::bpe::BPE};

use super::{
    byte_level,
    pre::{Alphabet, PreTokenizer, Splitter},
    vocab::Vocab,
};
use crate::{Cancelled, TextError};

const MERGES: &str = "tokenizer.ggml.merges";

/// Pre-tokenizer and merges.
pub(crate) struct Bpe {
    splitter: Splitter,
    alphabet: Alphabet,
    /// Runs of newlines that are a token are taken whole.
    whole_newlines: bool,
    model: BPE,
    /// Bytes without any token; the model would drop them.
    missing_bytes: Vec<u8>,
}

impl Bpe {
    pub(crate) fn new(metadata: &Metadata, vocab: &Vocab, pre: &'static PreTokenizer) -> Result<Self, TextError> {
        let merges = metadata.require(MERGES, metadata.strings(MERGES))?;
        let merges = merges.iter().map(|line| merge(vocab, line)).collect::<Result<Vec<_>, _>>()?;
        let raw = pre.alphabet == Alphabet::Raw;
        let mut builder = BPE::builder().vocab_and_merges(vocab.ids.clone(), merges).ignore_merges(pre.ignore_merges);
        if raw {
            builder = builder.byte_fallback(true);
        }
        let model = builder.build().map_err(|e| TextError::vocabulary(format!("`{MERGES}`: {e}")))?;
        let byte_ids = vocab.byte_ids();
        let has_byte = |byte: u8| {
            if raw {
                byte_ids[usize::from(byte)].is_some()
            } else {
                vocab.id(byte_level::byte_to_char(byte).encode_utf8(&mut [0; 4])).is_some()
            }
        };
        let missing_bytes = (0..=u8::MAX).filter(|b| !has_byte(*b)).collect();
        Ok(Self {
            splitter: Splitter::new(pre),
            alphabet: pre.alphabet,
            whole_newlines: pre.whole_newlines,
            model,
            missing_bytes,
        })
    }

    /// Appends the tokens of `text`.
    pub(crate) fn encode(
        &self,
        cancelled: &Cancelled,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        self.check_bytes(vocab, text)?;
        let mut word = String::new();
        let escaped;
        let text = match self.alphabet {
            Alphabet::Bytes => text,
            Alphabet::Raw => {
                escaped = text.replace(' ', "▁");
                &escaped
            }
        };
        for piece in self.splitter.split(text) {
            cancelled.check()?;
            let piece = match self.alphabet {
                Alphabet::Bytes => {
                    byte_level::encode_into(piece, &mut word);
                    &word
                }
                Alphabet::Raw => piece,
            };
            if self.whole_newlines
                && piece.starts_with('\n')
                && let Some(id) = vocab.id(piece)
            {
                out.push(id);
                continue;
            }
            let tokens = self.model.tokenize(piece).map_err(|e| TextError::Encode(e.to_string()))?;
            out.extend(tokens.iter().map(|t| t.id));
        }
        Ok(())
    }

    /// No text is lost: a character that the vocabulary cannot spell is an error.
    fn check_bytes(&self, vocab: &Vocab, text: &str) -> Result<(), TextError> {
        if self.missing_bytes.is_empty() {
            return Ok(());
        }
        let spelled = |c: char| {
            let mut buffer = [0; 4];
            let utf8 = c.encode_utf8(&mut buffer);
            utf8.bytes().all(|b| !self.missing_bytes.contains(&b))
                || (self.alphabet == Alphabet::Raw && vocab.id(if c == ' ' { "▁" } else { utf8 }).is_some())
        };
        match text.chars().find(|c| !spelled(*c)) {
            Some(c) => Err(TextError::Encode(format!("the vocabulary has no tokens for `{}`", c.escape_default()))),
            None => Ok(()),
        }
    }
}

/// The two parts of a line of merges; both, and their union, must be tokens.
fn merge(vocab: &Vocab, line: &str) -> Result<(String, String), TextError> {
    let invalid = |why: &str| TextError::vocabulary(format!("`{MERGES}` has the line `{line}`, {why}"));
    // The first part may begin with a space, so the border is looked for behind the first character.
    let first_len = line.chars().next().map_or(0, char::len_utf8);
    let border = line[first_len..].find(' ').ok_or_else(|| invalid("which is not two parts"))? + first_len;
    let (left, right) = (&line[..border], &line[border + 1..]);
    for part in [left, right, &[left, right].concat()] {
        if vocab.id(part).is_none() {
            return Err(invalid(&format!("but `{part}` is not a token")));
        }
    }
    Ok((left.to_owned(), right.to_owned()))
}
