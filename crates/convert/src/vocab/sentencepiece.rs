//! Reads a SentencePiece model: protocol buffers, the few fields that are needed.
//!
//! Format: `sentencepiece_model.proto`; field 1 of the model is a piece with its text (1), score (2) and type (3), field 3 the
//! normalizer with its map (2), whether texts get a space before them (3), and whether spaces are merged (4).

use std::path::Path;

use super::{Token, TokenType};
use crate::{ConvertError, json::read_bounded};

const MAX_PIECES: usize = 1 << 22;

/// A model.
pub(super) struct Model {
    pub(super) pieces: Vec<Token>,
    pub(super) normalizer: Normalizer,
}

/// What is done to a text before its pieces are looked up.
pub(super) struct Normalizer {
    /// Compiled replacements of characters; empty where there are none.
    pub(super) charsmap: Vec<u8>,
    pub(super) adds_space_prefix: bool,
    pub(super) removes_extra_spaces: bool,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Model, ConvertError> {
    let bytes = read_bounded(path)?;
    parse(&bytes).map_err(|what| ConvertError::invalid(path, format!("is no SentencePiece model: {what}")))
}

fn parse(bytes: &[u8]) -> Result<Model, String> {
    let mut pieces = Vec::new();
    let mut normalizer = parse_normalizer(&[])?;
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(_)) if pieces.len() == MAX_PIECES => {
                return Err(format!("more than {MAX_PIECES} pieces"));
            }
            (1, Content::Bytes(piece)) => pieces.push(parse_piece(piece)?),
            (3, Content::Bytes(bytes)) => normalizer = parse_normalizer(bytes)?,
            _ => {}
        }
    }
    if pieces.is_empty() {
        return Err("no pieces".to_owned());
    }
    Ok(Model { pieces, normalizer })
}

fn parse_normalizer(bytes: &[u8]) -> Result<Normalizer, String> {
    let mut normalizer = Normalizer { charsmap: Vec::new(), adds_space_prefix: true, removes_extra_spaces: true };
    for field in Fields(bytes) {
        match field? {
            (2, Content::Bytes(map)) => normalizer.charsmap = map.to_vec(),
            (3, Content::Varint(flag)) => normalizer.adds_space_prefix = flag != 0,
            (4, Content::Varint(flag)) => normalizer.removes_extra_spaces = flag != 0,
            _ => {}
        }
    }
    Ok(normalizer)
}

fn parse_piece(bytes: &[u8]) -> Result<Token, String> {
    let mut token = Token { text: String::new(), score: 0.0, token_type: TokenType::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Content::Bytes(text)) => {
                token.text = String::from_utf8(text.to_vec()).map_err(|_| "a piece is not UTF-8".to_owned())?;
            }
            (2, Content::Fixed32(bits)) => token.score = f32::from_bits(bits),
            (3, Content::Varint(number)) => {
                token.token_type = match number {
                    // User-defined pieces become so by the tokens that the other files add.
                    1 | 4 => TokenType::Normal,
                    2 => TokenType::Unknown,
                    3 => TokenType::Control,
                    5 => TokenType::Unused,
                    6 => TokenType::Byte,
                    _ => return Err(format!("a piece of type {number}")),
                }
            }
            _ => {}
        }
    }
    Ok(token)
}

enum Content<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, each with its number.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| "a field ends too early".to_owned());
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => self.take(8).map(|_| Content::Other)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.take(len)?)
            }
            5 => Content::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, content))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenType, parse};

    #[test]
    fn pieces_are_read_and_lies_refused() {
        let piece = [10, 12, 10, 3, 0xe2, 0x96, 0x81, 21, 0, 0, 0x80, 0xbf, 24, 3, 18, 2, 1, 1];
        let model = parse(&piece).expect("sound");
        assert_eq!((model.pieces[0].text.as_str(), model.pieces[0].score), ("\u{2581}", -1.0));
        assert_eq!(model.pieces[0].token_type, TokenType::Control);
        assert!(model.normalizer.charsmap.is_empty() && model.normalizer.adds_space_prefix);
        let normalized = [&piece[..14], &[26, 6, 18, 2, 7, 8, 24, 0]].concat();
        let normalizer = parse(&normalized).expect("sound").normalizer;
        assert_eq!((normalizer.charsmap, normalizer.adds_space_prefix), (vec![7, 8], false));
        for len in 1..14 {
            assert!(parse(&piece[..len]).is_err(), "cut to {len} bytes");
        }
        assert!(parse(&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(parse(&[]).is_err());
        assert!(parse(b"IQ== 0\nIg== 1\n").is_err());
    }
}
