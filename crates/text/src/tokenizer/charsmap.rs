//! SentencePiece's precompiled character map: which prefixes of a text are rewritten before tokenizing.
//!
//! Layout: `u32` size of a trie in bytes, the trie (a double array of `u32`, XOR addressed), then zero-terminated
//! replacements. Format: <https://github.com/google/sentencepiece/blob/master/src/normalizer.cc>.

use gguf::{Array, GgufError, Metadata, Value};

use crate::TextError;

const KEY: &str = "tokenizer.ggml.precompiled_charsmap";
/// No entry of a real map is longer; a hostile one may send the walk on for ever.
const MAX_PREFIX_BYTES: usize = 256;

/// The map of a file; empty where there is none.
#[derive(Default)]
pub(crate) struct Charsmap {
    trie: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    pub(crate) fn from_metadata(metadata: &Metadata) -> Result<Self, TextError> {
        let bytes: Vec<u8> = match metadata.get(KEY) {
            None => return Ok(Self::default()),
            Some(Value::Array(Array::Uint(v))) => v.iter().map(|x| *x as u8).collect(),
            Some(Value::Array(Array::Int(v))) => v.iter().map(|x| *x as u8).collect(),
            Some(other) => return Err(GgufError::invalid(KEY, other.kind(), "an array of bytes").into()),
        };
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, TextError> {
        let invalid = |why: &str| TextError::vocabulary(format!("`{KEY}` of {} bytes {why}", bytes.len()));
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| invalid("is too short for its size"))?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, replacements) = rest.split_at_checked(size).ok_or_else(|| invalid("is shorter than its trie"))?;
        let replacements = std::str::from_utf8(replacements).map_err(|_| invalid("holds text that is not UTF-8"))?;
        let (nodes, _) = trie.as_chunks::<4>();
        Ok(Self { trie: nodes.iter().map(|n| u32::from_le_bytes(*n)).collect(), replacements: replacements.to_owned() })
    }

    /// What the longest known prefix of `text` is rewritten to, and that prefix's length in bytes.
    pub(crate) fn longest_prefix(&self, text: &str) -> Result<Option<(&str, usize)>, TextError> {
        if self.trie.is_empty() {
            return Ok(None);
        }
        let mut found = None;
        let mut node = child_base(self.trie[0]);
        for (idx, byte) in text.bytes().take(MAX_PREFIX_BYTES).enumerate() {
            if byte == 0 {
                break;
            }
            node ^= usize::from(byte);
            let unit = self.unit(node)?;
            if unit & 0x8000_00FF != u32::from(byte) {
                break;
            }
            node ^= child_base(unit);
            if unit & 0x100 != 0 {
                found = Some((self.unit(node)? & 0x7FFF_FFFF, idx + 1));
            }
        }
        match found {
            Some((offset, len)) if text.is_char_boundary(len) => Ok(Some((self.replacement(offset as usize)?, len))),
            _ => Ok(None),
        }
    }

    fn unit(&self, node: usize) -> Result<u32, TextError> {
        self.trie.get(node).copied().ok_or_else(|| {
            TextError::Encode(format!("`{KEY}` points to node {node} of {}: the file is corrupt", self.trie.len()))
        })
    }

    fn replacement(&self, offset: usize) -> Result<&str, TextError> {
        let text = self.replacements.get(offset..).and_then(|rest| rest.split_once('\0'));
        text.map(|(replacement, _)| replacement)
            .ok_or_else(|| TextError::Encode(format!("`{KEY}` has no text at offset {offset}: the file is corrupt")))
    }
}

/// Where the children of a node begin: bits 10 to 30, times 256 when bit 9 is set.
fn child_base(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 0x200) >> 6)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map with the single entry `a` to `xy`.
    fn bytes() -> Vec<u8> {
        let mut trie = vec![0_u32; 256];
        trie[0] = 0; // The root's children begin at 0.
        trie[usize::from(b'a')] = u32::from(b'a') | 0x100 | (2 << 10); // A leaf whose value stands at 97 ^ 2.
        trie[usize::from(b'a') ^ 2] = 0x8000_0000 | 1;
        let mut bytes = (trie.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(trie.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(b"\0xy\0");
        bytes
    }

    #[test]
    fn a_prefix_is_rewritten() {
        let map = Charsmap::parse(&bytes()).expect("a map");
        assert_eq!(map.longest_prefix("abc").expect("sound"), Some(("xy", 1)));
        assert_eq!(map.longest_prefix("bc").expect("sound"), None);
    }

    #[test]
    fn broken_maps_are_errors() {
        assert!(Charsmap::parse(&[1, 0]).is_err());
        assert!(Charsmap::parse(&[0xFF; 64]).is_err());
        let mut wild = bytes();
        let leaf = 4 + 4 * usize::from(b'a');
        wild[leaf..leaf + 4].copy_from_slice(&(u32::from(b'a') | 0x100 | 0x7FFF_FC00).to_le_bytes());
        assert!(Charsmap::parse(&wild).expect("parses").longest_prefix("a").is_err());
        let mut no_text = bytes();
        let value = 4 + 4 * (usize::from(b'a') ^ 2);
        no_text[value..value + 4].copy_from_slice(&0x8000_FFFF_u32.to_le_bytes());
        assert!(Charsmap::parse(&no_text).expect("parses").longest_prefix("a").is_err());
    }
}
