//! The checksums by which git and its large-file storage know a file.

use std::fmt::Write;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// A file's identity on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// SHA-256 of the content, of files in large-file storage: 64 hexadecimal digits.
    Sha256(String),
    /// SHA-1 of `blob LENGTH\0` and the content, of files in git itself: 40 hexadecimal digits.
    GitBlob(String),
}

impl Checksum {
    /// Takes what the hub calls `oid`; `None` when it is no checksum.
    pub(crate) fn parse(oid: &str) -> Option<Self> {
        let digits = oid.to_ascii_lowercase();
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        match digits.len() {
            64 => Some(Self::Sha256(digits)),
            40 => Some(Self::GitBlob(digits)),
            _ => None,
        }
    }

    pub(crate) fn digits(&self) -> &str {
        let (Self::Sha256(digits) | Self::GitBlob(digits)) = self;
        digits
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "git SHA-1",
        }
    }

    /// Begins to sum a file of `num_bytes` bytes.
    pub(crate) fn hasher(&self, num_bytes: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher(Context::new(&SHA256)),
            Self::GitBlob(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {num_bytes}\0").as_bytes());
                Hasher(context)
            }
        }
    }
}

/// A sum in the making.
#[derive(Clone)]
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum as lower-case hexadecimal digits.
    pub(crate) fn digits(self) -> String {
        hex(self.0.finish().as_ref())
    }
}

/// SHA-256 of some text, for names of files.
pub(crate) fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn sums_are_those_of_sha256sum_and_git() {
        let sum = |oid: &str, text: &str| {
            let checksum = Checksum::parse(oid).unwrap();
            let mut hasher = checksum.hasher(text.len() as u64);
            hasher.update(text.as_bytes());
            (hasher.digits(), checksum.digits().to_owned())
        };
        // `printf hello | sha256sum`, `printf hello | git hash-object --stdin`
        let (found, expected) = sum("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824", "hello");
        assert_eq!(found, expected);
        let (found, expected) = sum("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", "hello");
        assert_eq!(found, expected);
        assert_eq!(Checksum::parse("../../etc"), None);
        assert_eq!(Checksum::parse(&"g".repeat(64)), None);
    }
}
