//! Cuts a text at the tokens that are never put together from parts: control tokens and user-defined ones.

use aho_corasick::{AhoCorasick, MatchKind};
use gguf::Metadata;

use super::vocab::{TokenType, Vocab};
use crate::TextError;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment<'a> {
    /// Not empty.
    Text(&'a str),
    /// A token that the text spelled out.
    Token(u32),
}

/// Finds the special tokens of a vocabulary in a text, the leftmost and then the longest first.
pub(crate) struct Partition {
    /// Control, unknown and user-defined tokens.
    all: Matcher,
    /// User-defined tokens alone: what a user's plain text may contain.
    plain: Matcher,
}

struct Matcher {
    automaton: Option<AhoCorasick>,
    tokens: Vec<Special>,
}

#[derive(Clone, Copy)]
struct Special {
    id: u32,
    /// White space behind the token belongs to it.
    strips_right: bool,
}

impl Partition {
    pub(crate) fn new(metadata: &Metadata, vocab: &Vocab) -> Result<Self, TextError> {
        let name = metadata.str("general.name").ok().flatten().unwrap_or_default().to_lowercase();
        // The key that says so is not carried into GGUF files; llama.cpp goes by the model's name too.
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        let special = |id: u32| Special {
            id,
            strips_right: is_phi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&vocab.texts[id as usize].as_str()),
        };
        let of = |wanted: fn(TokenType) -> bool| {
            Matcher::new(vocab, (0..vocab.len() as u32).filter(|id| wanted(vocab.types[*id as usize])).map(special))
        };
        Ok(Self {
            all: of(|t| t.is_special() || t == TokenType::UserDefined)?,
            plain: of(|t| t == TokenType::UserDefined)?,
        })
    }

    /// The parts of `text`, in order.
    pub(crate) fn split<'a>(&self, text: &'a str, parse_special: bool) -> Vec<Fragment<'a>> {
        if parse_special { self.all.split(text) } else { self.plain.split(text) }
    }
}

impl Matcher {
    fn new(vocab: &Vocab, tokens: impl Iterator<Item = Special>) -> Result<Self, TextError> {
        let tokens: Vec<Special> = tokens.collect();
        if tokens.is_empty() {
            return Ok(Self { automaton: None, tokens });
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|t| &vocab.texts[t.id as usize]))
            .map_err(|e| TextError::vocabulary(format!("special tokens: {e}")))?;
        Ok(Self { automaton: Some(automaton), tokens })
    }

    fn split<'a>(&self, text: &'a str) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        let mut done = 0;
        for found in self.automaton.iter().flat_map(|a| a.find_iter(text)) {
            let token = self.tokens[found.pattern().as_usize()];
            fragments.extend(text.get(done..found.start()).filter(|t| !t.is_empty()).map(Fragment::Text));
            fragments.push(Fragment::Token(token.id));
            done = found.end();
            if token.strips_right {
                let rest = &text[done..];
                done += rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b').len();
            }
        }
        fragments.extend(text.get(done..).filter(|t| !t.is_empty()).map(Fragment::Text));
        fragments
    }
}
