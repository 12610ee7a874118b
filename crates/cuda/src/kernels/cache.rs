//! Compiled kernels on disk, from one start to the next.
//!
//! The folder may be deleted at any time, shared by processes, damaged or read-only: files are written aside and
//! renamed, carry a checksum, and what is not whole is compiled again.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Compiled, Source, Target};

/// The folder's size, in bytes, above which the oldest files go.
const MAX_BYTES: u64 = 256 << 20;
/// What every file of ours ends in.
const ENDING: &str = "kernel";

/// A folder of compiled kernels, or nothing where there is no place for one.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// `LLCUDA_CACHE_DIR`, else `XDG_CACHE_HOME/llcuda`, else `~/.cache/llcuda`.
    #[must_use]
    pub fn of_user() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = folder("LLCUDA_CACHE_DIR")
            .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("llcuda")))
            .or_else(|| folder("HOME").map(|path| path.join(".cache/llcuda")));
        Self { folder }
    }

    /// A cache in this folder; made when something is stored.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// Where it is.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What a compiler of this version made of the source for the target, if it is there and whole.
    #[must_use]
    pub fn load(&self, source: &Source, target: Target, nvrtc: (u32, u32)) -> Option<Compiled> {
        let path = self.folder.as_ref()?.join(file_name(source.file, target, source.key(target), nvrtc));
        let bytes = fs::read(&path).ok()?;
        match Compiled::decode(&bytes) {
            Ok(compiled) if compiled.is_of(source, target) && compiled.nvrtc == nvrtc => Some(compiled),
            Ok(_) => damaged(&path, "it holds another kernel than its name says"),
            Err(fault) => damaged(&path, fault),
        }
    }

    /// Keeps a compiled source. That it cannot is worth a log line, no more.
    pub fn store(&self, compiled: &Compiled) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(file_name(&compiled.file, compiled.target, compiled.key, compiled.nvrtc));
        if let Err(error) = write_whole(&path, &compiled.encode()) {
            tracing::warn!("cannot cache compiled kernels in `{}`: {error}", folder.display());
        }
    }

    /// Removes the oldest files while all are more than 256 MiB.
    pub fn trim(&self) {
        if let Some(folder) = &self.folder {
            trim_to(folder, MAX_BYTES);
        }
    }
}

fn damaged(path: &Path, fault: &str) -> Option<Compiled> {
    tracing::warn!("`{}` is not used: {fault}; it is compiled again", path.display());
    None
}

fn file_name(file: &str, target: Target, key: u128, nvrtc: (u32, u32)) -> String {
    let stem = file.trim_end_matches(".cu");
    format!("{stem}.{target}.{key:032x}.{}.{}.{ENDING}", nvrtc.0, nvrtc.1)
}

/// Writes beside the path and renames, so that nobody ever reads half a file.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let thread = std::thread::current().id();
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.{thread:?}.new", std::process::id()));
    let result = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if result.is_err() {
        // The write failed; that the rest of it cannot be removed either changes nothing.
        let _ = fs::remove_file(&aside);
    }
    result
}

fn trim_to(folder: &Path, max_bytes: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let path = entry.path();
            let metadata = entry.metadata().ok()?;
            (path.extension()? == ENDING).then_some((metadata.modified().ok()?, metadata.len(), path))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= max_bytes {
            break;
        }
        // Another process may have removed it already.
        let _ = fs::remove_file(path);
        total -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{SOURCES, Target, tests::example};
    use super::{Cache, trim_to, write_whole};

    const VERSION: (u32, u32) = (12, 9);

    #[test]
    fn what_is_stored_is_found_by_the_same_source_target_and_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("made/when/needed"));
        let compiled = example();
        let source = &SOURCES[0];
        assert!(cache.load(source, compiled.target, VERSION).is_none());
        cache.store(&compiled);
        assert_eq!(cache.load(source, compiled.target, VERSION), Some(compiled.clone()));
        assert!(cache.load(source, compiled.target, (13, 0)).is_none());
        assert!(cache.load(source, Target::Cubin(89), VERSION).is_none());
        assert!(cache.load(&SOURCES[1], compiled.target, VERSION).is_none());
    }

    #[test]
    fn damaged_and_misplaced_files_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let compiled = example();
        cache.store(&compiled);
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let mut other = compiled.clone();
        other.key ^= 1;
        for bytes in [&whole[..whole.len() - 1], &flipped, b"", &other.encode()] {
            fs::write(&path, bytes).unwrap();
            assert!(cache.load(&SOURCES[0], compiled.target, VERSION).is_none());
        }
        cache.store(&compiled);
        assert!(cache.load(&SOURCES[0], compiled.target, VERSION).is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn no_place_to_write_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        for cache in [Cache::at(file.join("below a file")), Cache { folder: None }] {
            cache.store(&example());
            cache.trim();
            assert!(cache.load(&SOURCES[0], example().target, VERSION).is_none());
        }
    }

    #[test]
    fn the_oldest_files_go_first_and_strangers_stay() {
        let folder = tempfile::tempdir().unwrap();
        let age = |name: &str, seconds: u64| {
            let path = folder.path().join(name);
            write_whole(&path, &[0; 100]).unwrap();
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        age("new.kernel", 30);
        age("old.kernel", 10);
        age("middle.kernel", 20);
        age("stranger.txt", 1);
        trim_to(folder.path(), 200);
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["middle.kernel", "new.kernel", "stranger.txt"]);
    }
}
