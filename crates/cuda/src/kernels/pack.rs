//! Compiled kernels for many devices in one file, made by `llcuda kernels build`: users need nothing but the driver.

use std::path::{Path, PathBuf};

use super::{Compiled, Source, Target, cache::write_whole, compiled::Reader};
use crate::error::CudaError;

/// The first bytes; the last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"LLKPACK1";
/// The file looked for beside the binary.
const FILE_NAME: &str = "llcuda.kernels";

/// A pack that was read. Its parts are checked one by one: those for other devices do not matter.
#[derive(Debug)]
pub struct Pack {
    path: PathBuf,
    parts: Vec<Compiled>,
}

impl Pack {
    /// Writes a pack.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the file cannot be written.
    pub fn write(path: &Path, parts: &[Compiled]) -> Result<u64, CudaError> {
        let mut out = MAGIC.to_vec();
        for part in parts {
            let bytes = part.encode();
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        write_whole(path, &out).map_err(|error| {
            CudaError::Kernels(format!("cannot write the kernels to `{}`: {error}", path.display()))
        })?;
        Ok(out.len() as u64)
    }

    /// Reads a pack; `wanted` says which targets are of interest. Parts that are damaged are left out, with a warning.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the file cannot be read or is no pack.
    pub fn read(path: &Path, wanted: impl Fn(Target) -> bool) -> Result<Self, CudaError> {
        let fault = |what: &str| CudaError::Kernels(format!("kernel pack `{}`: {what}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| fault(&error.to_string()))?;
        let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or_else(|| fault("this is no pack of this version"))?);
        let mut parts = Vec::new();
        while !reader.0.is_empty() {
            let Some(bytes) = reader.bytes() else {
                tracing::warn!("kernel pack `{}` is truncated", path.display());
                break;
            };
            // A damaged name only makes a part pass or fail this test wrongly; the checksum comes after it.
            if Compiled::peek_target(bytes).is_some_and(|target| !wanted(target)) {
                continue;
            }
            match Compiled::decode(bytes) {
                Ok(part) => parts.push(part),
                Err(fault) => tracing::warn!("a part of kernel pack `{}` is not used: {fault}", path.display()),
            }
        }
        Ok(Self { path: path.to_owned(), parts })
    }

    /// The pack that `LLCUDA_KERNELS` names, else `llcuda.kernels` beside the binary; `None` without either.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the one that `LLCUDA_KERNELS` names cannot be read. One beside the binary that
    /// cannot be read is left out, with a warning.
    pub fn find(wanted: impl Fn(Target) -> bool) -> Result<Option<Self>, CudaError> {
        if let Some(path) = std::env::var_os("LLCUDA_KERNELS").filter(|path| !path.is_empty()) {
            return Self::read(Path::new(&path), wanted).map(Some);
        }
        let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name(FILE_NAME)).filter(|path| path.exists());
        Ok(beside.and_then(|path| match Self::read(&path, wanted) {
            Ok(pack) => Some(pack),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }))
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    #[must_use]
    pub fn parts(&self) -> &[Compiled] {
        &self.parts
    }

    /// The part of this source for this target, if it was made from the sources in this binary.
    #[must_use]
    pub fn part(&self, source: &Source, target: Target) -> Option<&Compiled> {
        self.parts.iter().find(|part| part.is_of(source, target))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{SOURCES, Target, tests::example};
    use super::Pack;

    #[test]
    fn a_pack_holds_what_was_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.kernels");
        let mut stale = example();
        stale.target = Target::Cubin(90);
        Pack::write(&path, &[example(), stale]).unwrap();
        let pack = Pack::read(&path, |_| true).unwrap();
        assert_eq!((pack.parts().len(), pack.path()), (2, path.as_path()));
        assert_eq!(pack.part(&SOURCES[0], Target::Cubin(75)), Some(&example()));
        assert!(pack.part(&SOURCES[0], Target::Cubin(90)).is_none(), "its key is another target's");
        assert!(pack.part(&SOURCES[1], Target::Cubin(75)).is_none());
        assert_eq!(Pack::read(&path, |target| target == Target::Cubin(90)).unwrap().parts().len(), 1);
    }

    #[test]
    fn damaged_parts_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.kernels");
        let mut second = example();
        second.file = "second.cu".to_owned();
        Pack::write(&path, &[example(), second.clone()]).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[60] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(Pack::read(&path, |_| true).unwrap().parts(), [second]);
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(Pack::read(&path, |_| true).unwrap().parts(), [example()]);
    }

    #[test]
    fn what_is_no_pack_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.kernels");
        let message = |path| Pack::read(path, |_| true).unwrap_err().to_string();
        assert!(message(&path).contains("a.kernels"), "{}", message(&path));
        fs::write(&path, "GGUF").unwrap();
        assert!(message(&path).contains("no pack"), "{}", message(&path));
    }
}
