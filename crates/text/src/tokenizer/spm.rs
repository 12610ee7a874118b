//! SentencePiece-style BPE (`llama`): merges the neighbours whose union is the best-scored token.
//!
//! The vocabulary's scores are the whole model, so no table of merges is rebuilt from them: neighbours are looked up
//! as they come, the best score first and the leftmost of equals, which is also llama.cpp's order.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::vocab::{TokenType, Vocab};
use crate::{Cancelled, TextError};

const NONE: u32 = u32::MAX;
/// After so many pairs, it is asked whether anybody still waits.
const PAIRS_PER_CHECK: u32 = 1 << 12;

/// What [`Spm::encode`] needs besides the vocabulary.
pub(crate) struct Spm {
    byte_ids: Vec<Option<u32>>,
    unknown: Option<u32>,
}

/// A run of text that is, or may become, one token. Merged-away symbols have no length.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    len: u32,
    prev: u32,
    next: u32,
}

/// Two neighbours that would make a token.
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    len: u32,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then_with(|| Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl Spm {
    pub(crate) fn new(vocab: &Vocab, unknown: Option<u32>) -> Self {
        Self { byte_ids: vocab.byte_ids(), unknown }
    }

    /// Appends the tokens of `text`, in which spaces are already written as `▁`.
    pub(crate) fn encode(
        &self,
        cancelled: &Cancelled,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let mut symbols = symbols(text);
        let mut queue = BinaryHeap::new();
        for left in 1..symbols.len() as u32 {
            queue.extend(pair(vocab, text, &symbols, left - 1));
        }
        let mut num_pairs = 0_u32;
        while let Some(Pair { left, right, len, .. }) = queue.pop() {
            num_pairs = num_pairs.wrapping_add(1);
            if num_pairs.is_multiple_of(PAIRS_PER_CHECK) {
                cancelled.check()?;
            }
            let (l, r) = (symbols[left as usize], symbols[right as usize]);
            if l.len == 0 || r.len == 0 || l.len + r.len != len {
                continue; // One of the two has been merged since.
            }
            symbols[left as usize].len = len;
            symbols[left as usize].next = r.next;
            symbols[right as usize].len = 0;
            if r.next != NONE {
                symbols[r.next as usize].prev = left;
            }
            if l.prev != NONE {
                queue.extend(pair(vocab, text, &symbols, l.prev));
            }
            queue.extend(pair(vocab, text, &symbols, left));
        }
        for symbol in symbols.iter().filter(|s| s.len > 0) {
            self.push_token(vocab, slice(text, symbol.start, symbol.len), out)?;
        }
        Ok(())
    }

    fn push_token(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        if let Some(id) = token(vocab, text) {
            out.push(id);
            return Ok(());
        }
        for byte in text.bytes() {
            let id = self.byte_ids[usize::from(byte)].or(self.unknown).ok_or_else(|| {
                TextError::Encode(format!("the vocabulary has neither `{text}` nor a token for its byte {byte:#04x}"))
            })?;
            out.push(id);
        }
        Ok(())
    }
}

/// One symbol a character.
fn symbols(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
    for (start, c) in text.char_indices() {
        let idx = symbols.len() as u32;
        symbols.push(Symbol {
            start: start as u32,
            len: c.len_utf8() as u32,
            prev: idx.checked_sub(1).unwrap_or(NONE),
            next: idx + 1,
        });
    }
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    symbols
}

/// The symbol and its right neighbour, when their union is a token.
fn pair(vocab: &Vocab, text: &str, symbols: &[Symbol], left: u32) -> Option<Pair> {
    let l = symbols[left as usize];
    let r = symbols.get(l.next as usize)?;
    let len = l.len + r.len;
    if len as usize > vocab.max_text_bytes {
        return None;
    }
    let id = token(vocab, slice(text, l.start, len))?;
    Some(Pair { score: vocab.scores[id as usize], left, right: l.next, len })
}

/// The token with this text. What a user writes never becomes a control or byte token by being merged.
fn token(vocab: &Vocab, text: &str) -> Option<u32> {
    let id = vocab.id(text)?;
    matches!(vocab.types[id as usize], TokenType::Normal | TokenType::UserDefined | TokenType::Unused).then_some(id)
}

fn slice(text: &str, start: u32, len: u32) -> &str {
    &text[start as usize..(start + len) as usize]
}
