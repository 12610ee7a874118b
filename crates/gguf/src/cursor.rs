//! A reader over bytes that checks every length before it reads.

use std::borrow::Cow;

use crate::GgufError;

/// Longest string or key, in bytes; some files carry a whole `tokenizer.json` of some tens of MiB.
const MAX_STRING_BYTES: u64 = 64 << 20;
/// Metadata and tensor list, in bytes; the largest vocabularies take some tens of MiB.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Elements of all metadata arrays together; a vocabulary of 262144 tokens with its merges has 1.3 million. An element
/// takes up to 32 bytes in memory but may take a single one in the file.
const MAX_ARRAY_ELEMENTS: u64 = 1 << 24;

/// Position in the bytes of one file. `field` names what is being read in errors.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// Array elements announced so far.
    num_elements: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, num_elements: 0 }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn remaining(&self) -> u64 {
        (self.bytes.len() - self.pos) as u64
    }

    pub(crate) fn take(&mut self, num_bytes: u64, field: &str) -> Result<&'a [u8], GgufError> {
        if num_bytes > self.remaining() {
            return Err(GgufError::Truncated {
                field: field.to_owned(),
                offset: self.pos as u64,
                need: num_bytes,
                have: self.remaining(),
            });
        }
        // Fits: it is at most the length of a slice.
        let end = self.pos + num_bytes as usize;
        if end as u64 > MAX_HEADER_BYTES {
            let expected = format!("metadata and tensor list within the first {MAX_HEADER_BYTES} bytes");
            return Err(GgufError::invalid(field, format!("at offset {}, {num_bytes} bytes long", self.pos), expected));
        }
        let taken = &self.bytes[self.pos..end];
        self.pos = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], GgufError> {
        let taken = self.take(N as u64, field)?;
        let mut out = [0; N];
        out.copy_from_slice(taken);
        Ok(out)
    }

    pub(crate) fn u32(&mut self, field: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A count of things that take at least `min_bytes` each: refused above `max`, or when they cannot fit in what is
    /// left.
    pub(crate) fn count(&mut self, min_bytes: u64, max: u64, field: &str) -> Result<usize, GgufError> {
        let n = self.u64(field)?;
        let need = n.saturating_mul(min_bytes);
        if need > self.remaining() {
            return Err(GgufError::Truncated {
                field: field.to_owned(),
                offset: self.pos as u64,
                need,
                have: self.remaining(),
            });
        }
        if n > max {
            return Err(GgufError::invalid(field, n, format!("at most {max}")));
        }
        Ok(n as usize)
    }

    /// The length of an array whose elements take at least `min_bytes` each.
    pub(crate) fn array_len(&mut self, min_bytes: u64, field: &str) -> Result<usize, GgufError> {
        let len = self.count(min_bytes, u64::MAX, field)?;
        self.num_elements = self.num_elements.saturating_add(len as u64);
        if self.num_elements > MAX_ARRAY_ELEMENTS {
            let expected = format!("at most {MAX_ARRAY_ELEMENTS} in all arrays of the file");
            return Err(GgufError::invalid(field, format!("an array of {len} elements"), expected));
        }
        Ok(len)
    }

    /// A length-prefixed string. Bytes that are not UTF-8 are replaced: vocabularies of byte-level models hold such.
    pub(crate) fn string(&mut self, field: &str) -> Result<String, GgufError> {
        Ok(self.text(field)?.into_owned())
    }

    /// The same, not copied where it is UTF-8.
    pub(crate) fn text(&mut self, field: &str) -> Result<Cow<'a, str>, GgufError> {
        let len = self.u64(field)?;
        if len > MAX_STRING_BYTES && len <= self.remaining() {
            return Err(GgufError::invalid(
                field,
                format!("a string of {len} bytes"),
                format!("at most {MAX_STRING_BYTES}"),
            ));
        }
        Ok(String::from_utf8_lossy(self.take(len, field)?))
    }
}
