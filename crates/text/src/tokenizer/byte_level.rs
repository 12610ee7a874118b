//! The alphabet of byte-level BPE: every byte is written as one printable character.
//!
//! Bytes that print stand for themselves; the others are numbered from U+0100 in the order of their values (GPT-2).

use std::sync::LazyLock;

struct Alphabet {
    chars: [char; 256],
    /// Byte of the characters U+0000 to U+01FF.
    bytes: [Option<u8>; 512],
}

static ALPHABET: LazyLock<Alphabet> = LazyLock::new(|| {
    let mut alphabet = Alphabet { chars: ['\0'; 256], bytes: [None; 512] };
    let mut num_hidden = 0;
    for byte in 0..=u8::MAX {
        let code = if matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            u32::from(byte)
        } else {
            num_hidden += 1;
            0xFF + num_hidden
        };
        alphabet.chars[usize::from(byte)] =
            char::from_u32(code).expect("below U+0200, where every number is a character");
        alphabet.bytes[code as usize] = Some(byte);
    }
    alphabet
});

/// The character that stands for a byte.
pub(crate) fn byte_to_char(byte: u8) -> char {
    ALPHABET.chars[usize::from(byte)]
}

/// Writes the bytes of a text in the alphabet, into a buffer that is cleared first.
pub(crate) fn encode_into(text: &str, out: &mut String) {
    out.clear();
    out.extend(text.bytes().map(byte_to_char));
}

/// The bytes that a token's text stands for; characters outside the alphabet stand for themselves.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match ALPHABET.bytes.get(c as usize).copied().flatten() {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let text: String = (0..=u8::MAX).map(byte_to_char).collect();
        assert_eq!(decode(&text), (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!((byte_to_char(b' '), byte_to_char(b'\n'), byte_to_char(b'a')), ('Ġ', 'Ċ', 'a'));
    }

    #[test]
    fn characters_outside_the_alphabet_stay() {
        assert_eq!(decode("a▁"), "a▁".as_bytes());
    }
}
