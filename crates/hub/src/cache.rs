//! The cache's folders: those of `huggingface_hub`.
//!
//! `models--USER--MODEL/refs/main` names a commit, `snapshots/COMMIT/PATH` links to `blobs/CHECKSUM`.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    HubError,
    checksum::Checksum,
    listing::is_commit,
    repo::{is_file, is_repo},
};

const PREFIX: &str = "models--";
const MAX_DEPTH: usize = 8;

/// A model file that is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedModel {
    /// `USER/MODEL`.
    pub repo: String,
    /// Its path in the repository.
    pub file: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub num_bytes: u64,
}

/// The folder of one repository. The name was checked.
pub(crate) struct RepoCache<'a> {
    cache: &'a Path,
    name: String,
}

impl<'a> RepoCache<'a> {
    pub(crate) fn new(cache: &'a Path, repo: &str) -> Self {
        Self { cache, name: format!("{PREFIX}{}", repo.replace('/', "--")) }
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    pub(crate) fn blob(&self, checksum: &Checksum) -> PathBuf {
        self.folder().join("blobs").join(checksum.digits())
    }

    /// The lock of a blob, where `huggingface_hub` has it too.
    pub(crate) fn lock(&self, checksum: &Checksum) -> PathBuf {
        self.cache.join(".locks").join(&self.name).join(format!("{}.lock", checksum.digits()))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    /// Lets `snapshots/COMMIT/PATH` lead to a blob.
    pub(crate) fn link(&self, commit: &str, path: &str, checksum: &Checksum) -> Result<PathBuf, HubError> {
        let link = self.snapshot(commit).join(path);
        let ups = 2 + path.split('/').count() - 1;
        let target = PathBuf::from("../".repeat(ups)).join("blobs").join(checksum.digits());
        if fs::read_link(&link).is_ok_and(|found| found == target) {
            return Ok(link);
        }
        create_parent(&link)?;
        match fs::remove_file(&link) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(HubError::io(&link)(e)),
            _ => {}
        }
        match symlink(&target, &link) {
            // Another process was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(HubError::io(&link))?,
        }
        Ok(link)
    }

    /// Remembers which commit `main` is.
    pub(crate) fn set_main(&self, commit: &str) -> Result<(), HubError> {
        let path = self.folder().join("refs/main");
        if fs::read_to_string(&path).is_ok_and(|found| found.trim() == commit) {
            return Ok(());
        }
        create_parent(&path)?;
        // Neither another process nor another thread writes this one.
        let thread = std::thread::current().id();
        let draft = path.with_extension(format!("{}.{thread:?}.tmp", std::process::id()));
        fs::write(&draft, commit).map_err(HubError::io(&draft))?;
        fs::rename(&draft, &path).map_err(HubError::io(&path))
    }

    /// The files of the commit that `main` was last seen at.
    pub(crate) fn files(&self) -> Vec<(String, PathBuf)> {
        let Some(commit) = self.commit() else { return Vec::new() };
        let root = self.snapshot(&commit);
        let mut files = Vec::new();
        walk(&root, "", &mut files, MAX_DEPTH);
        files.sort();
        files.into_iter().map(|path| (path.clone(), root.join(path))).collect()
    }

    /// `main`'s commit, or another ref's.
    fn commit(&self) -> Option<String> {
        let refs = self.folder().join("refs");
        let read = |path: &Path| {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
        };
        let others = || fs::read_dir(&refs).ok()?.flatten().find_map(|entry| read(&entry.path()));
        read(&refs.join("main")).or_else(others)
    }
}

/// All GGUF files in the cache.
pub(crate) fn all(cache: &Path) -> Vec<CachedModel> {
    let folders = fs::read_dir(cache).into_iter().flatten().flatten();
    let mut repos: Vec<String> = folders
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(PREFIX)?.replacen("--", "/", 1)))
        .filter(|repo| is_repo(repo))
        .collect();
    repos.sort();
    let models = repos.into_iter().flat_map(|repo| {
        let files = RepoCache::new(cache, &repo).files();
        files.into_iter().filter(|(file, _)| file.ends_with(".gguf")).map(move |(file, path)| {
            let num_bytes = fs::metadata(&path).map_or(0, |m| m.len());
            CachedModel { repo: repo.clone(), file, path, num_bytes }
        })
    });
    models.collect()
}

/// Paths of files below a folder, `/` between names; those whose link leads nowhere are left out.
fn walk(root: &Path, below: &str, files: &mut Vec<String>, depth: usize) {
    for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() && is_file(&path) => files.push(path),
            Ok(metadata) if metadata.is_dir() && depth > 0 => walk(root, &path, files, depth - 1),
            _ => {}
        }
    }
}

/// Makes the folder that a file shall lie in.
pub(crate) fn create_parent(path: &Path) -> Result<(), HubError> {
    debug_assert!(path.components().all(|c| c != Component::ParentDir), "names were checked");
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(HubError::io(folder)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Links need privileges there: a hard link, else a copy.
#[cfg(not(unix))]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let blob = link.parent().unwrap_or(link).join(target);
    fs::hard_link(&blob, link).or_else(|_| fs::copy(&blob, link).map(|_| ()))
}
