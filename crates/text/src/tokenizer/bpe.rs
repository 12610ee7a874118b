//! Byte-level BPE (`gpt2`) and BPE over raw characters (`gemma4` and its like): words from the pre-tokenizer, then
//! the merges of the file.

use gguf::Metadata;

use super::{
    byte_level,
    merges::{MERGES, Merges, Word},
    pre::{Alphabet, PreTokenizer, Splitter},
    vocab::Vocab,
};
use crate::{Cancelled, TextError};

/// Pre-tokenizer and merges.
pub(crate) struct Bpe {
    pre: &'static PreTokenizer,
    splitter: Splitter,
    merges: Merges,
    /// The token of each byte, where there is one.
    byte_ids: Vec<Option<u32>>,
}

impl Bpe {
    pub(crate) fn new(metadata: &Metadata, vocab: &Vocab, pre: &'static PreTokenizer) -> Result<Self, TextError> {
        let merges = metadata.require(MERGES, metadata.strings(MERGES))?;
        let letter = |byte: u8| vocab.id(byte_level::byte_to_char(byte).encode_utf8(&mut [0; 4]));
        let byte_ids = match pre.alphabet {
            Alphabet::Bytes => (0..=u8::MAX).map(letter).collect(),
            Alphabet::Raw => vocab.byte_ids(),
        };
        Ok(Self { pre, splitter: Splitter::new(pre), merges: Merges::new(vocab, merges)?, byte_ids })
    }

    /// Appends the tokens of `text`.
    pub(crate) fn encode(
        &self,
        cancelled: &Cancelled,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let raw;
        let text = match self.pre.alphabet {
            Alphabet::Bytes => text,
            Alphabet::Raw => {
                raw = text.replace(' ', "▁");
                &raw
            }
        };
        // Kept from word to word for their memory.
        let (mut written, mut letters, mut merging) = (String::new(), Vec::new(), Word::default());
        for word in self.splitter.split(text) {
            cancelled.check()?;
            if let Some(id) = self.whole(vocab, word, &mut written) {
                out.push(id);
                continue;
            }
            letters.clear();
            self.spell(vocab, word, &mut letters)?;
            self.merges.apply(cancelled, letters.iter().copied(), &mut merging, out)?;
        }
        Ok(())
    }

    /// The token of a word that is taken whole, whatever the merges say.
    fn whole(&self, vocab: &Vocab, word: &str, written: &mut String) -> Option<u32> {
        let is_whole = self.pre.ignore_merges || (self.pre.whole_newlines && word.starts_with('\n'));
        // A word longer than all tokens need not be written out to be looked up.
        if !is_whole || word.len() > vocab.max_text_bytes {
            return None;
        }
        match self.pre.alphabet {
            Alphabet::Raw => vocab.id(word),
            Alphabet::Bytes => {
                byte_level::encode_into(word, written);
                vocab.id(written)
            }
        }
    }

    /// The tokens of the single letters of a word. No text is lost: a character that the vocabulary cannot spell is an
    /// error.
    fn spell(&self, vocab: &Vocab, word: &str, letters: &mut Vec<u32>) -> Result<(), TextError> {
        for (start, c) in word.char_indices() {
            let text = &word[start..start + c.len_utf8()];
            if self.pre.alphabet == Alphabet::Raw
                && let Some(id) = vocab.id(text)
            {
                letters.push(id);
                continue;
            }
            for byte in text.bytes() {
                letters.push(self.byte_ids[usize::from(byte)].ok_or_else(|| {
                    TextError::Encode(format!("the vocabulary has no tokens for `{}`", c.escape_default()))
                })?);
            }
        }
        Ok(())
    }
}
