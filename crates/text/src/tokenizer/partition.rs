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
    strips: Strips,
}

/// Which white space around a token belongs to it. The keys that say so are not carried into GGUF files; llama.cpp goes
/// by the names of models too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strips {
    Nothing,
    Left,
    Right,
}

/// The models with such tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stripping {
    /// Space before the token of this name.
    Before(&'static str),
    /// Space behind all of Phi-3's but some.
    Phi3,
    None,
}

impl Stripping {
    fn of(metadata: &Metadata) -> Self {
        let text = |key| metadata.str(key).ok().flatten().unwrap_or_default();
        let name = text("general.name").to_lowercase();
        let has = |text: &str, parts: &[&str]| parts.iter().any(|part| text.contains(part));
        if has(text("tokenizer.ggml.pre"), &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
            || has(text("general.architecture"), &["nomic-bert-moe", "jina-bert-v3"])
        {
            Self::Before("<mask>")
        } else if has(&name, &["phi-3", "phi3"]) {
            Self::Phi3
        } else if has(&name, &["modern-bert"]) {
            Self::Before("[MASK]")
        } else {
            Self::None
        }
    }

    fn strips(self, token: &str) -> Strips {
        match self {
            Self::Before(name) if name == token => Strips::Left,
            Self::Phi3 if !["<unk>", "<s>", "<|endoftext|>"].contains(&token) => Strips::Right,
            _ => Strips::Nothing,
        }
    }
}

impl Partition {
    pub(crate) fn new(metadata: &Metadata, vocab: &Vocab) -> Result<Self, TextError> {
        let stripping = Stripping::of(metadata);
        let special = |id: u32| Special { id, strips: stripping.strips(vocab.text(id)) };
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
            .build(tokens.iter().map(|t| vocab.text(t.id)))
            .map_err(|e| TextError::vocabulary(format!("special tokens: {e}")))?;
        Ok(Self { automaton: Some(automaton), tokens })
    }

    fn split<'a>(&self, text: &'a str) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        let mut done = 0;
        for found in self.automaton.iter().flat_map(|a| a.find_iter(text)) {
            let token = self.tokens[found.pattern().as_usize()];
            let mut before = text.get(done..found.start()).unwrap_or_default();
            if token.strips == Strips::Left {
                before = before.trim_end_matches(is_space);
            }
            fragments.extend(Some(before).filter(|t| !t.is_empty()).map(Fragment::Text));
            fragments.push(Fragment::Token(token.id));
            done = found.end();
            if token.strips == Strips::Right {
                let rest = &text[done..];
                done += rest.len() - rest.trim_start_matches(is_space).len();
            }
        }
        fragments.extend(text.get(done..).filter(|t| !t.is_empty()).map(Fragment::Text));
        fragments
    }
}

/// C's `isspace`.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
