//! One file: locked against other processes, resumed, checked, and only then given its name.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    HubError, Progress,
    cache::create_parent,
    checksum::{Checksum, Hasher},
    client::{Client, Piece, Reply, Wanted},
};

const BUFFER_BYTES: usize = 1 << 20;
/// Tries without progress before it is given up.
const MAX_ATTEMPTS: u32 = 5;
/// What counts as progress: a server that sends a few bytes a connection would be asked forever.
const MIN_PROGRESS_BYTES: u64 = 1 << 20;
/// What a path of a partial file ends in, as in `huggingface_hub`.
const PARTIAL: &str = "incomplete";

/// A file to have.
pub(crate) struct Job<'a> {
    /// What it is called in messages.
    pub(crate) name: &'a str,
    pub(crate) url: &'a str,
    /// Where it shall lie.
    pub(crate) place: PathBuf,
    /// Held while it is downloaded.
    pub(crate) lock: PathBuf,
    /// Its size in bytes, where that is known beforehand.
    pub(crate) size: Option<u64>,
    pub(crate) checksum: Option<&'a Checksum>,
    pub(crate) retry_delay: Duration,
}

/// How a try ended.
enum Try {
    /// All bytes are there.
    Whole,
    /// The file that is there already is the server's.
    Unchanged,
    /// It broke off, for this reason.
    BrokeOff(String),
}

impl Job<'_> {
    /// Has the file, downloaded now or before.
    pub(crate) fn run(&self, client: &Client, progress: &mut dyn Progress) -> Result<(), HubError> {
        let _lock = self.locked()?;
        if self.is_there() {
            return Ok(());
        }
        let mut partial = Partial::open(self)?;
        let resumed = partial.len > 0;
        if !self.pull(client, &mut partial, progress)? {
            return partial.remove();
        }
        match self.check(&mut partial) {
            Ok(()) => {}
            // What an earlier try left may be the damaged part.
            Err(HubError::Checksum { .. }) if resumed => {
                tracing::warn!(file = self.name, "what was downloaded earlier is damaged; from the start");
                partial.reset()?;
                self.pull(client, &mut partial, progress)?;
                self.check(&mut partial).or_else(|error| partial.remove().and(Err(error)))?;
            }
            Err(error) => return partial.remove().and(Err(error)),
        }
        progress.finish();
        partial.rename(&self.place)
    }

    /// Whether there is nothing to ask for. Where the size is known the place is named by the content; else the server
    /// is asked for a newer version, if it told which one this is.
    fn is_there(&self) -> bool {
        match (self.size, fs::metadata(&self.place)) {
            (_, Err(_)) => false,
            (Some(size), Ok(metadata)) => metadata.len() == size,
            (None, Ok(_)) => read_etag(&self.place).is_none(),
        }
    }

    fn locked(&self) -> Result<File, HubError> {
        create_parent(&self.lock)?;
        let options = OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock);
        let file = options.map_err(HubError::io(&self.lock))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                tracing::info!(file = self.name, "another process downloads this file; waiting for it");
            }
            Err(TryLockError::Error(error)) => return Err(HubError::io(&self.lock)(error)),
        }
        file.lock().map_err(HubError::io(&self.lock))?;
        Ok(file)
    }

    /// Downloads what is missing; `false` when the file at its place is the server's.
    fn pull(&self, client: &Client, partial: &mut Partial, progress: &mut dyn Progress) -> Result<bool, HubError> {
        let mut attempts = 0;
        loop {
            let before = partial.len;
            let reason = match self.attempt(client, partial, progress) {
                Ok(Try::Whole) => return Ok(true),
                Ok(Try::Unchanged) => return Ok(false),
                Ok(Try::BrokeOff(reason)) => reason,
                Err(error) if error.is_outage() => error.to_string(),
                Err(error) => return Err(error),
            };
            attempts = if partial.len >= before + MIN_PROGRESS_BYTES { 1 } else { attempts + 1 };
            if attempts >= MAX_ATTEMPTS {
                return Err(HubError::BrokeOff { name: self.name.to_owned(), attempts, reason, done: partial.len });
            }
            tracing::warn!(file = self.name, reason, done = partial.len, "the download broke off; going on");
            thread::sleep(self.retry_delay * (1 << (attempts - 1)));
        }
    }

    fn attempt(&self, client: &Client, partial: &mut Partial, progress: &mut dyn Progress) -> Result<Try, HubError> {
        if Some(partial.len) == self.size {
            return Ok(Try::Whole);
        }
        let (etag, have) = (read_etag(&partial.path), read_etag(&self.place));
        let wanted = Wanted { offset: partial.len, same_as: etag.as_deref(), newer_than: have.as_deref() };
        let piece = match client.file(self.url, wanted)? {
            Reply::Unchanged => return Ok(Try::Unchanged),
            Reply::PastEnd => {
                partial.reset()?;
                return Ok(Try::BrokeOff("the file is shorter than what was downloaded of it".to_owned()));
            }
            Reply::Piece(piece) => piece,
        };
        let other_version = etag.is_some() && piece.etag.is_some() && etag != piece.etag;
        if piece.offset != partial.len || other_version {
            // The server knows no ranges, or it has another version by now.
            partial.reset()?;
        }
        if piece.offset != partial.len {
            return Err(self.answer(format!("it sent bytes from {} on instead of from {}", piece.offset, partial.len)));
        }
        self.receive(piece, partial, progress)
    }

    fn receive(&self, piece: Piece, partial: &mut Partial, progress: &mut dyn Progress) -> Result<Try, HubError> {
        let total = self.size.or(piece.total);
        if let (Some(listed), Some(sent)) = (self.size, piece.total)
            && listed != sent
        {
            return Err(self.answer(format!("the file has {sent} bytes, but {listed} in the repository's list")));
        }
        self.check_space(total, partial.len)?;
        if self.size.is_none() {
            write_etag(&partial.path, piece.etag.as_deref())?;
        }
        progress.start(self.name, partial.len, total);
        let mut body = piece.body;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Try::BrokeOff(error.to_string())),
            };
            if total.is_some_and(|total| partial.len + n as u64 > total) {
                return Err(self.answer("it sends more than the whole file".to_owned()));
            }
            partial.append(&buffer[..n])?;
            progress.advance(n as u64);
        }
        Ok(match total {
            Some(total) if partial.len < total => Try::BrokeOff("the connection was closed early".to_owned()),
            _ => Try::Whole,
        })
    }

    fn check_space(&self, total: Option<u64>, done: u64) -> Result<(), HubError> {
        let folder = self.place.parent().unwrap_or(&self.place);
        let need = total.unwrap_or(0).saturating_sub(done);
        match free_bytes(folder) {
            Some(free) if free < need => {
                Err(HubError::NoSpace { name: self.name.to_owned(), need, folder: folder.to_owned(), free })
            }
            _ => Ok(()),
        }
    }

    fn check(&self, partial: &mut Partial) -> Result<(), HubError> {
        let (Some(checksum), Some(hasher)) = (self.checksum, partial.hasher.clone()) else { return Ok(()) };
        let found = hasher.digits();
        if found == checksum.digits() {
            return Ok(());
        }
        let expected = checksum.digits().to_owned();
        Err(HubError::Checksum { name: self.name.to_owned(), kind: checksum.kind(), found, expected })
    }

    fn answer(&self, reason: String) -> HubError {
        HubError::Answer { url: self.url.to_owned(), reason }
    }
}

/// A file in the making: what is there of it, and its checksum up to there.
struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    hasher: Option<Hasher>,
    /// The checksum of nothing.
    empty: Option<Hasher>,
}

impl Partial {
    fn open(job: &Job<'_>) -> Result<Self, HubError> {
        let path = with_suffix(&job.place, PARTIAL);
        create_parent(&path)?;
        let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = options.map_err(HubError::io(&path))?;
        let empty = job.checksum.map(|checksum| checksum.hasher(job.size.unwrap_or(0)));
        let mut partial = Self { path, file, len: 0, hasher: empty.clone(), empty };
        partial.read_back()?;
        // Without a version there is no telling what the rest would be added to.
        let unknown = job.size.is_none() && read_etag(&partial.path).is_none();
        if unknown || job.size.is_some_and(|size| partial.len > size) {
            partial.reset()?;
        }
        Ok(partial)
    }

    /// Sums what an earlier try left.
    fn read_back(&mut self) -> Result<(), HubError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    self.len += n as u64;
                    self.hasher.iter_mut().for_each(|hasher| hasher.update(&buffer[..n]));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(HubError::io(&self.path)(error)),
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::io(&self.path))?;
        self.len += bytes.len() as u64;
        self.hasher.iter_mut().for_each(|hasher| hasher.update(bytes));
        Ok(())
    }

    fn reset(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(HubError::io(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(HubError::io(&self.path))?;
        (self.len, self.hasher) = (0, self.empty.clone());
        Ok(())
    }

    fn remove(&self) -> Result<(), HubError> {
        let _ = fs::remove_file(etag_path(&self.path));
        fs::remove_file(&self.path).map_err(HubError::io(&self.path))
    }

    /// Gives the whole file its name.
    fn rename(self, place: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(HubError::io(&self.path))?;
        // The version first: with an old file it asks for a download, with a new one it is right.
        let _ = fs::rename(etag_path(&self.path), etag_path(place));
        fs::rename(&self.path, place).map_err(HubError::io(place))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn etag_path(path: &Path) -> PathBuf {
    with_suffix(path, "etag")
}

/// The version of a file that is there.
fn read_etag(path: &Path) -> Option<String> {
    let etag = fs::read_to_string(etag_path(path)).ok().filter(|_| path.exists())?;
    // Weak versions do not promise equal bytes.
    Some(etag).filter(|etag| !etag.is_empty() && !etag.starts_with("W/") && etag.bytes().all(|b| b.is_ascii_graphic()))
}

fn write_etag(path: &Path, etag: Option<&str>) -> Result<(), HubError> {
    let path = etag_path(path);
    match etag {
        Some(etag) => fs::write(&path, etag).map_err(HubError::io(&path)),
        None => {
            let _ = fs::remove_file(&path);
            Ok(())
        }
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
