//! From text to tokens and back to bytes, as the model file's own metadata describes it.

mod bpe;
mod byte_level;
mod charsmap;
mod merges;
mod partition;
mod pre;
mod special;
mod spm;
mod trie;
mod unigram;
mod vocab;
mod wordpiece;

use gguf::Metadata;
use types::TokenId;

use crate::{Cancelled, TextError};
use bpe::Bpe;
use partition::{Fragment, Partition};
pub use special::FimTokens;
use special::SpecialTokens;
use spm::Spm;
use unigram::Unigram;
use vocab::{TokenType, Vocab};
use wordpiece::WordPiece;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
/// Longer texts are refused: positions are 32 bits.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// The family of a tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SentencePiece-style BPE (`llama`).
    Spm,
    /// BPE with a table of merges (`gpt2`, `gemma4`).
    Bpe,
    /// WordPiece (`bert`).
    WordPiece,
    /// Unigram (`t5`).
    Unigram,
}

/// What [`Tokenizer::encode`] does beside splitting text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Add the tokens that begin and end a text, where the model wants them.
    pub add_special: bool,
    /// Read the texts of control tokens as those tokens; else they are plain text, as a user's words must be.
    pub parse_special: bool,
}

enum Model {
    Spm(Spm),
    Bpe(Box<Bpe>),
    WordPiece(WordPiece),
    Unigram(Box<Unigram>),
}

/// A model's tokenizer.
pub struct Tokenizer {
    vocab: Vocab,
    special: SpecialTokens,
    partition: Partition,
    model: Model,
    add_space_prefix: bool,
    pieces: Pieces,
}

impl Tokenizer {
    /// Builds the tokenizer that a file's metadata describes.
    ///
    /// # Errors
    /// When a key is missing or mistyped, arrays contradict each other, or the kind of tokenizer is not known.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TextError> {
        let name = metadata.require(MODEL, metadata.str(MODEL))?;
        let kind = match name {
            "llama" => Kind::Spm,
            "gpt2" | "gemma4" => Kind::Bpe,
            "bert" => Kind::WordPiece,
            "t5" => Kind::Unigram,
            _ => {
                let supported = "`llama`, `gpt2`, `gemma4`, `bert`, `t5`".to_owned();
                let why = match name {
                    "rwkv" => ": RWKV's longest-match tokenizer is not there",
                    "plamo2" => ": PLaMo 2's tokenizer is not there",
                    "hybriddna" => ": the tokenizer of DNA sequences is not there",
                    "whitespace" => ": BPE over words cut at white space alone is not there",
                    "no_vocab" | "none" => ": the file has no vocabulary, so texts cannot be tokenized",
                    _ => "",
                };
                return Err(TextError::UnknownModel { found: name.to_owned(), why, supported });
            }
        };
        let pre = match (kind, name) {
            (Kind::Bpe, "gemma4") => Some(pre::find("gemma4")?),
            (Kind::Bpe, _) => Some(pre::find(metadata.str(PRE)?.unwrap_or("default"))?),
            _ => None,
        };
        let mut vocab = Vocab::from_metadata(metadata)?;
        let special = SpecialTokens::new(metadata, &mut vocab, kind, pre)?;
        let unknown = special.unknown.map(|id| id.0);
        let add_space_prefix =
            metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(matches!(kind, Kind::Spm | Kind::Unigram));
        let model = match kind {
            Kind::Spm => Model::Spm(Spm::new(&vocab, unknown)),
            Kind::Bpe => {
                let pre = pre.expect("every BPE vocabulary was given a pre-tokenizer above");
                Model::Bpe(Box::new(Bpe::new(metadata, &vocab, pre)?))
            }
            Kind::WordPiece => Model::WordPiece(WordPiece::new(metadata, unknown)?),
            Kind::Unigram => Model::Unigram(Box::new(Unigram::new(metadata, &vocab, unknown, add_space_prefix)?)),
        };
        let partition = Partition::new(metadata, &vocab)?;
        let byte_level = pre.is_some_and(|p| p.alphabet == pre::Alphabet::Bytes);
        let pieces = Pieces::new(&vocab, byte_level);
        Ok(Self { vocab, special, partition, model, add_space_prefix, pieces })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`TextError::Encode`] when the vocabulary has no tokens for a part of the text, or the text is too long.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<TokenId>, TextError> {
        self.encode_unless(&Cancelled::default(), text, options)
    }

    /// The same, which ends early once nobody waits for it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and [`TextError::Cancelled`].
    pub fn encode_unless(
        &self,
        cancelled: &Cancelled,
        text: &str,
        options: EncodeOptions,
    ) -> Result<Vec<TokenId>, TextError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TextError::Encode(format!("it has {} bytes; at most {MAX_TEXT_BYTES} are taken", text.len())));
        }
        let mut ids = Vec::new();
        let SpecialTokens { bos, eos, separator, add_bos, add_eos, .. } = self.special;
        let is_word_piece = self.kind() == Kind::WordPiece;
        if options.add_special && (add_bos || is_word_piece) {
            ids.extend(bos.map(|id| id.0));
        }
        let mut at_start = true;
        for fragment in self.partition.split(text, options.parse_special) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_text(cancelled, text, at_start, &mut ids)?,
            }
            at_start = matches!(fragment, Fragment::Token(_));
        }
        if options.add_special {
            let end = if is_word_piece { separator } else { eos.filter(|_| add_eos) };
            ids.extend(end.map(|id| id.0));
        }
        Ok(ids.into_iter().map(TokenId).collect())
    }

    /// `at_start`: no other text stands directly before.
    fn encode_text(
        &self,
        cancelled: &Cancelled,
        text: &str,
        at_start: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        cancelled.check()?;
        match &self.model {
            Model::Spm(spm) => {
                let prefix = if self.add_space_prefix && at_start { "▁" } else { "" };
                let text = [prefix, &text.replace(' ', "▁")].concat();
                spm.encode(cancelled, &self.vocab, &text, ids)
            }
            Model::Bpe(bpe) => bpe.encode(cancelled, &self.vocab, text, ids),
            Model::WordPiece(word_piece) => word_piece.encode(cancelled, &self.vocab, text, ids),
            Model::Unigram(unigram) => unigram.encode(cancelled, text, ids),
        }
    }

    /// The bytes that a token stands for, which need not be whole characters. Control tokens stand for their names;
    /// see [`Tokenizer::is_special`]. Empty for ids that the vocabulary does not have.
    #[must_use]
    pub fn piece(&self, id: TokenId) -> &[u8] {
        self.pieces.get(id.0 as usize)
    }

    /// The token's text as the file writes it (`Ġthe`, `▁the`, `<0x0A>`).
    #[must_use]
    pub fn token_text(&self, id: TokenId) -> Option<&str> {
        self.vocab.texts.get(id.0 as usize)
    }

    /// The token whose text in the file is exactly this.
    #[must_use]
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.vocab.id(text).map(TokenId)
    }

    /// Whether a token steers the model and is not shown to users.
    #[must_use]
    pub fn is_special(&self, id: TokenId) -> bool {
        self.vocab.types.get(id.0 as usize).is_some_and(|t| t.is_special())
    }

    /// Size of the vocabulary.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.vocab.len()
    }

    /// The token that begins a text.
    #[must_use]
    pub fn bos(&self) -> Option<TokenId> {
        self.special.bos
    }

    /// The token that ends a text.
    #[must_use]
    pub fn eos(&self) -> Option<TokenId> {
        self.special.eos
    }

    /// The token that ends a turn of a conversation.
    #[must_use]
    pub fn eot(&self) -> Option<TokenId> {
        self.special.eot
    }

    /// All tokens that end an answer, ascending.
    #[must_use]
    pub fn eog_ids(&self) -> &[TokenId] {
        &self.special.eog
    }

    /// The token between the parts of a pair of texts, as rerankers see them.
    #[must_use]
    pub fn separator(&self) -> Option<TokenId> {
        self.special.separator
    }

    /// Whether the parts of a pair of texts are separated by [`Tokenizer::separator`].
    #[must_use]
    pub fn adds_separator(&self) -> bool {
        self.special.add_separator
    }

    /// The tokens for filling in the middle of a text.
    #[must_use]
    pub fn fim(&self) -> FimTokens {
        self.special.fim
    }

    /// Tokens that the model's makers want never to be chosen, ascending.
    #[must_use]
    pub fn suppressed_ids(&self) -> &[TokenId] {
        &self.special.suppressed
    }

    /// Whether [`Tokenizer::encode`] with `add_special` puts [`Tokenizer::eos`] last.
    #[must_use]
    pub fn adds_eos(&self) -> bool {
        self.special.add_eos
    }

    /// Whether [`Tokenizer::encode`] with `add_special` puts [`Tokenizer::bos`] first.
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        self.special.add_bos
    }

    /// The family.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.model {
            Model::Spm(_) => Kind::Spm,
            Model::Bpe(_) => Kind::Bpe,
            Model::WordPiece(_) => Kind::WordPiece,
            Model::Unigram(_) => Kind::Unigram,
        }
    }

    /// Whether the first token of an encoded text begins with a space that was not in the text.
    pub(crate) fn invents_leading_space(&self) -> bool {
        self.add_space_prefix || self.kind() == Kind::WordPiece
    }
}

/// The bytes of all tokens, end to end.
struct Pieces {
    bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<u32>,
}

impl Pieces {
    fn new(vocab: &Vocab, byte_level: bool) -> Self {
        let mut pieces = Self { bytes: Vec::new(), ends: Vec::with_capacity(vocab.len()) };
        for (text, kind) in vocab.texts.iter().zip(&vocab.types) {
            match kind {
                TokenType::Control | TokenType::Unknown | TokenType::UserDefined => {
                    pieces.bytes.extend(text.as_bytes());
                }
                TokenType::Normal if byte_level => pieces.bytes.extend(byte_level::decode(text)),
                TokenType::Normal => pieces.bytes.extend(text.replace('▁', " ").as_bytes()),
                TokenType::Byte => pieces.bytes.extend(parse_byte(text)),
                TokenType::Unused => {}
            }
            // No longer than the texts, which are less than 4 GiB.
            pieces.ends.push(pieces.bytes.len() as u32);
        }
        pieces
    }

    fn get(&self, idx: usize) -> &[u8] {
        let Some(&end) = self.ends.get(idx) else { return &[] };
        let start = idx.checked_sub(1).map_or(0, |i| self.ends[i]);
        &self.bytes[start as usize..end as usize]
    }
}

/// The byte that `<0x0A>` names.
fn parse_byte(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(hex, 16).ok()
}
