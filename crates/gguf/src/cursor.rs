//! A reader over bytes that checks every length before it reads.

use crate::GgufError;

/// Longest string or key, in bytes; the longest chat templates are some tens of KiB.
const MAX_STRING_BYTES: u64 = 16 << 20;

/// Position in the bytes of one file. `field` names what is being read in errors.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
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

    /// A count of things that take at least `min_bytes` each: refused when they cannot fit in what is left.
    pub(crate) fn count(&mut self, min_bytes: u64, field: &str) -> Result<usize, GgufError> {
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
        Ok(n as usize)
    }

    /// A length-prefixed string. Bytes that are not UTF-8 are replaced: vocabularies of byte-level models hold such.
    pub(crate) fn string(&mut self, field: &str) -> Result<String, GgufError> {
        let len = self.u64(field)?;
        if len > MAX_STRING_BYTES && len <= self.remaining() {
            return Err(GgufError::invalid(
                field,
                format!("a string of {len} bytes"),
                format!("at most {MAX_STRING_BYTES}"),
            ));
        }
        Ok(String::from_utf8_lossy(self.take(len, field)?).into_owned())
    }
}
