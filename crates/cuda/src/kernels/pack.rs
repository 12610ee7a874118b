//! Compiled kernels for many devices in one file, made by `llcuda kernels build`: users need nothing but the driver.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Compiled, Source, Target, cache::write_whole, compiled::Reader};
use crate::error::CudaError;

/// The first bytes; the last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"LLKPACK1";
/// The file looked for beside the binary.
const FILE_NAME: &str = "llcuda.kernels";
/// What a binary with a pack behind its own bytes ends in, after the pack's length as 8 bytes.
const TRAILER: &[u8; 8] = b"LLKTAIL1";
const TRAILER_BYTES: u64 = 16;

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
        write(path, &encode(parts))
    }

    /// Writes a copy of a binary with the pack behind it, where [`Self::find`] finds it: one file to ship. A pack that the
    /// binary had is replaced.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the binary cannot be read or the copy cannot be written.
    pub fn write_into(binary: &Path, path: &Path, parts: &[Compiled]) -> Result<u64, CudaError> {
        let fault = |error: std::io::Error| CudaError::Kernels(format!("cannot read `{}`: {error}", binary.display()));
        let mut out = std::fs::read(binary).map_err(fault)?;
        if let Some((start, _)) = File::open(binary).and_then(|mut file| find_behind(&mut file)).map_err(fault)? {
            out.truncate(start as usize);
        }
        let pack = encode(parts);
        out.extend_from_slice(&pack);
        out.extend((pack.len() as u64).to_le_bytes());
        out.extend(TRAILER);
        let written = write(path, &out)?;
        let permissions = std::fs::metadata(binary).map_err(fault)?.permissions();
        std::fs::set_permissions(path, permissions).map_err(fault)?;
        Ok(written)
    }

    /// Reads a pack; `wanted` says which targets are of interest. Parts that are damaged are left out, with a warning.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the file cannot be read or is no pack.
    pub fn read(path: &Path, wanted: impl Fn(Target) -> bool) -> Result<Self, CudaError> {
        let bytes = std::fs::read(path)
            .map_err(|error| CudaError::Kernels(format!("kernel pack `{}`: {error}", path.display())))?;
        Self::parse(&bytes, path, wanted)
    }

    fn parse(bytes: &[u8], path: &Path, wanted: impl Fn(Target) -> bool) -> Result<Self, CudaError> {
        let fault = |what: &str| CudaError::Kernels(format!("kernel pack `{}`: {what}", path.display()));
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

    /// The pack that `LLCUDA_KERNELS` names, else the one behind the binary's own bytes, else `llcuda.kernels` beside it;
    /// `None` without any.
    ///
    /// # Errors
    /// [`CudaError::Kernels`] when the one that `LLCUDA_KERNELS` names cannot be read. Others that cannot be read are
    /// left out, with a warning.
    pub fn find(wanted: impl Fn(Target) -> bool) -> Result<Option<Self>, CudaError> {
        if let Some(path) = std::env::var_os("LLCUDA_KERNELS").filter(|path| !path.is_empty()) {
            return Self::read(Path::new(&path), wanted).map(Some);
        }
        let Ok(binary) = std::env::current_exe() else { return Ok(None) };
        let pack = match read_behind(&binary) {
            Ok(Some(bytes)) => Some(Self::parse(&bytes, &binary, wanted)),
            Ok(None) => {
                let beside = Some(binary.with_file_name(FILE_NAME)).filter(|path| path.exists());
                beside.map(|path| Self::read(&path, wanted))
            }
            Err(error) => Some(Err(CudaError::Kernels(format!("cannot read `{}`: {error}", binary.display())))),
        };
        Ok(pack.and_then(|pack| pack.inspect_err(|error| tracing::warn!("{error}")).ok()))
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

fn encode(parts: &[Compiled]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for part in parts {
        let bytes = part.encode();
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    }
    out
}

fn write(path: &Path, bytes: &[u8]) -> Result<u64, CudaError> {
    write_whole(path, bytes)
        .map_err(|error| CudaError::Kernels(format!("cannot write the kernels to `{}`: {error}", path.display())))?;
    Ok(bytes.len() as u64)
}

/// Where the pack behind a binary's own bytes begins, and its length.
fn find_behind(file: &mut File) -> std::io::Result<Option<(u64, u64)>> {
    let size = file.metadata()?.len();
    if size < TRAILER_BYTES {
        return Ok(None);
    }
    let (mut length, mut tail) = ([0; 8], [0; 8]);
    file.seek(SeekFrom::Start(size - TRAILER_BYTES))?;
    file.read_exact(&mut length)?;
    file.read_exact(&mut tail)?;
    let length = u64::from_le_bytes(length);
    let start = (size - TRAILER_BYTES).checked_sub(length);
    Ok(start.filter(|_| tail == *TRAILER).map(|start| (start, length)))
}

fn read_behind(binary: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut file = File::open(binary)?;
    let Some((start, length)) = find_behind(&mut file)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{SOURCES, Target, tests::example};
    use super::{Pack, read_behind};

    #[test]
    fn a_binary_carries_one_pack() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, first, second) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        fs::write(&binary, [7; 1000]).unwrap();
        assert!(read_behind(&binary).unwrap().is_none());
        Pack::write_into(&binary, &first, &[example(), example()]).unwrap();
        Pack::write_into(&first, &second, &[example()]).unwrap();
        for (path, parts) in [(&first, 2), (&second, 1)] {
            let bytes = read_behind(path).unwrap().expect("a pack");
            assert_eq!(Pack::parse(&bytes, path, |_| true).unwrap().parts().len(), parts);
            assert_eq!(fs::read(path).unwrap()[..1000], [7; 1000]);
        }
        assert!(fs::metadata(&second).unwrap().len() < fs::metadata(&first).unwrap().len());
    }

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
