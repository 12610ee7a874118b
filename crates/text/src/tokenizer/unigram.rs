//! Unigram (`t5`): the segmentation whose scores sum to the most.

use gguf::Metadata;

use super::{
    charsmap::Charsmap,
    trie::Trie,
    vocab::{TokenType, Vocab},
};
use crate::{Cancelled, TextError};

const REMOVE_EXTRA_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
const SPACE_AS_SUFFIX: &str = "tokenizer.ggml.treat_whitespace_as_suffix";
/// Between as many bytes (and one more), it is asked whether anybody still waits.
const CHECK_MASK: usize = (1 << 14) - 1;
/// How much worse than the worst token an unknown character is.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Finds all tokens in a text and the best way through them.
pub(crate) struct Unigram {
    charsmap: Charsmap,
    tokens: Trie,
    /// Of all tokens of the vocabulary.
    scores: Vec<f32>,
    unknown: u32,
    unknown_score: f64,
    spaces: Spaces,
}

/// Where spaces go before tokenizing.
#[derive(Clone, Copy)]
struct Spaces {
    /// Runs of spaces become one, and none is left at the ends.
    merge: bool,
    /// One is put before the first word.
    prepend: bool,
    /// One is put behind the last word.
    append: bool,
}

/// The best way to a position of the text.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    token: u32,
    start: usize,
}

impl Unigram {
    pub(crate) fn new(
        metadata: &Metadata,
        vocab: &Vocab,
        unknown: Option<u32>,
        add_space_prefix: bool,
    ) -> Result<Self, TextError> {
        let unknown = unknown.ok_or_else(|| TextError::vocabulary("a Unigram vocabulary needs an unknown token"))?;
        let usable = |id: &usize| !matches!(vocab.types[*id], t if t.is_special() || t == TokenType::Byte);
        let ids: Vec<usize> = (0..vocab.len()).filter(usable).collect();
        if let Some(id) = ids.iter().find(|id| !vocab.scores[**id].is_finite()) {
            let found = vocab.scores[*id];
            return Err(TextError::vocabulary(format!("the score of token {id} is {found}, which cannot be summed")));
        }
        let worst = ids.iter().map(|id| f64::from(vocab.scores[*id])).fold(0.0, f64::min);
        let score = |id: usize| match vocab.types[id] {
            TokenType::UserDefined => 0.0, // Always better than the sum of its parts.
            _ => vocab.scores[id],
        };
        let as_suffix = metadata.bool(SPACE_AS_SUFFIX)?.unwrap_or(false);
        Ok(Self {
            charsmap: Charsmap::from_metadata(metadata)?,
            tokens: Trie::new(ids.into_iter().map(|id| (vocab.text(id as u32), id as u32))),
            scores: (0..vocab.len()).map(score).collect(),
            unknown,
            unknown_score: worst - UNKNOWN_PENALTY,
            spaces: Spaces {
                merge: metadata.bool(REMOVE_EXTRA_SPACES)?.unwrap_or(false),
                prepend: add_space_prefix && !as_suffix,
                append: add_space_prefix && as_suffix,
            },
        })
    }

    /// Appends the tokens of `text`.
    pub(crate) fn encode(&self, cancelled: &Cancelled, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        let text = self.spaces.apply(&self.normalize(text)?);
        let nowhere = Best { score: f64::NEG_INFINITY, token: self.unknown, start: 0 };
        let mut best = vec![nowhere; text.len() + 1];
        best[0].score = 0.0;
        for (start, c) in text.char_indices() {
            if start & CHECK_MASK < c.len_utf8() {
                cancelled.check()?;
            }
            // All ways to `start` are known: they began before it.
            for (len, token) in self.tokens.prefixes(&text[start..]) {
                improve(&mut best, start, start + len, token, f64::from(self.scores[token as usize]));
            }
            improve(&mut best, start, start + c.len_utf8(), self.unknown, self.unknown_score);
        }
        self.walk_back(&best, out);
        Ok(())
    }

    /// Unknown characters in a row are one unknown token.
    fn walk_back(&self, best: &[Best], out: &mut Vec<u32>) {
        let first = out.len();
        let mut end = best.len() - 1;
        while end > 0 {
            let Best { token, start, .. } = best[end];
            if token != self.unknown || out[first..].last() != Some(&token) {
                out.push(token);
            }
            end = start;
        }
        out[first..].reverse();
    }

    fn normalize(&self, text: &str) -> Result<String, TextError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let len = match self.charsmap.longest_prefix(rest)? {
                Some((replacement, len)) => {
                    out.push_str(replacement);
                    len
                }
                None => {
                    out.push(c);
                    c.len_utf8()
                }
            };
            rest = &rest[len..];
        }
        Ok(out)
    }
}

impl Spaces {
    fn apply(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 6);
        let mut in_word = false;
        let mut prepended = false;
        for c in text.chars() {
            if c == ' ' {
                in_word = false;
                if !self.merge {
                    out.push('▁');
                }
                continue;
            }
            if !in_word && (self.merge || (self.prepend && !prepended)) {
                out.push('▁');
                prepended = true;
            }
            in_word = true;
            out.push(c);
        }
        if self.merge {
            out.truncate(out.trim_end_matches('▁').len()); // What the text wrote so is no more than a space.
        }
        if self.append {
            out.push('▁');
        }
        out
    }
}

/// Takes the way through `start` to `end` where it is better than the one known.
fn improve(best: &mut [Best], start: usize, end: usize, token: u32, score: f64) {
    let score = best[start].score + score;
    if score > best[end].score {
        best[end] = Best { score, token, start };
    }
}
