//! What was measured on a device, kept in the folder of compiled kernels from one start to the next.
//!
//! As with kernels: the folder may be deleted, damaged or read-only. Whoever reads a note checks every line of it.

use std::path::PathBuf;

use super::{Cache, Source, Target, cache::write_whole, hash::hash};
use crate::device::Arch;

/// Longer files are none of ours.
const MAX_BYTES: u64 = 1 << 20;

/// A small text, or nothing where there is no place for one.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    path: Option<PathBuf>,
}

impl Note {
    /// The note on `what` of a source's kernels. It is another one when the source, what it is compiled for, or a part of
    /// `device` changes.
    pub(crate) fn new(source: &str, what: &str, device: &[&str], arch: Arch) -> Self {
        Self::within(&Cache::of_user(), source, what, device, arch)
    }

    fn within(cache: &Cache, source: &str, what: &str, device: &[&str], arch: Arch) -> Self {
        let target = match arch {
            Arch::Native(number) => Target::Cubin(number),
            Arch::Forced75 => Target::Ptx(75),
        };
        let key = Source::named(source).map(|source| source.key(target));
        let mut parts: Vec<&[u8]> = device.iter().map(|part| part.as_bytes()).collect();
        let key = key.unwrap_or_default().to_le_bytes();
        parts.push(&key);
        let name = format!("{what}.{:032x}.measured", hash(&parts));
        Self { path: cache.folder().map(|folder| folder.join(name)) }
    }

    /// What was stored.
    pub(crate) fn load(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let size = std::fs::metadata(path).ok()?.len();
        if size > MAX_BYTES { None } else { std::fs::read_to_string(path).ok() }
    }

    /// Keeps a text. That it cannot is worth a log line, no more.
    pub(crate) fn store(&self, text: &str) {
        let Some(path) = &self.path else { return };
        if let Err(error) = write_whole(path, text.as_bytes()) {
            tracing::warn!("cannot keep what was measured in `{}`: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, Note};
    use crate::device::Arch;

    #[test]
    fn notes_are_of_one_device() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("made"));
        let note = |device: &str, arch| Note::within(&cache, "matmul_mixed.cu", "products", &[device], arch);
        assert_eq!(note("a", Arch::Native(90)).load(), None);
        note("a", Arch::Native(90)).store("text");
        assert_eq!(note("a", Arch::Native(90)).load().as_deref(), Some("text"));
        assert_eq!(note("b", Arch::Native(90)).load(), None);
        assert_eq!(note("a", Arch::Forced75).load(), None);
    }
}
