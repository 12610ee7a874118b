//! Reads the pieces of a SentencePiece model: protocol buffers, the few fields that are needed.
//!
//! Format: `sentencepiece_model.proto`; field 1 of the model is a piece with its text (1), score (2) and type (3).

use std::path::Path;

use super::{Token, TokenType};
use crate::{ConvertError, json::read_bounded};

const MAX_PIECES: usize = 1 << 22;

/// A model.
pub(super) struct Model {
    pub(super) pieces: Vec<Token>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Model, ConvertError> {
    let bytes = read_bounded(path)?;
    parse(&bytes).map_err(|what| ConvertError::invalid(path, format!("is no SentencePiece model: {what}")))
}

fn parse(bytes: &[u8]) -> Result<Model, String> {
    let mut pieces = Vec::new();
    for field in Fields(bytes) {
        if let (1, Content::Bytes(piece)) = field? {
            if pieces.len() == MAX_PIECES {
                return Err(format!("more than {MAX_PIECES} pieces"));
            }
            pieces.push(parse_piece(piece)?);
        }
    }
    if pieces.is_empty() {
        return Err("no pieces".to_owned());
    }
    Ok(Model { pieces })
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
        for len in 1..14 {
            assert!(parse(&piece[..len]).is_err(), "cut to {len} bytes");
        }
        assert!(parse(&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(parse(&[]).is_err());
        assert!(parse(b"IQ== 0\nIg== 1\n").is_err());
    }
}
