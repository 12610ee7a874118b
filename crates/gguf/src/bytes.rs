//! Where the bytes of a file are: mapped, copied, embedded.

use std::{fs::File, io, path::Path, thread};

use memmap2::{Mmap, MmapMut};

use crate::GgufError;

/// Threads that copy a file at most; the memory of one machine is not faster with more.
const MAX_COPY_THREADS: usize = 8;

/// Bytes between two touches of a mapped file: a page of any system.
const PAGE_BYTES: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Read the file into memory of the process's own instead of mapping it: for file systems that map slowly, and for
    /// files that others may change.
    pub copy: bool,
    /// Keep the bytes in memory, safe from swapping. Where the system refuses, `Gguf::is_locked` says so.
    pub lock: bool,
}

pub(crate) enum Bytes {
    Mapped { map: Mmap, is_locked: bool },
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    pub(crate) fn open(path: &Path, options: OpenOptions) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let map = if options.copy { copy(&file) } else { map(&file) }.map_err(io)?;
        let is_locked = options.lock && lock(&map);
        Ok(Self::Mapped { map, is_locked })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped { map, .. } => map,
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Brings a range of a mapped file into memory.
    pub(crate) fn populate(&self, offset: usize, num_bytes: usize) {
        if let Self::Mapped { map, .. } = self {
            populate(map, offset, num_bytes);
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::Mapped { is_locked: true, .. })
    }
}

fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process. A writer that truncates the file while it is
    // served would fault the process; that is the accepted price of not copying gigabytes, as in llama.cpp.
    unsafe { Mmap::map(file) }
}

/// Reads a file into anonymous memory, in parts side by side: the system clears every page before it is filled.
fn copy(file: &File) -> io::Result<Mmap> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut memory = MmapMut::map_anon(len)?;
    // A hint: clearing and mapping small pages takes several times what reading the file does.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    let num_threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_COPY_THREADS);
    let part_bytes = len.div_ceil(num_threads).max(1);
    thread::scope(|scope| {
        let parts = memory.chunks_mut(part_bytes).enumerate();
        let readers: Vec<_> =
            parts.map(|(i, part)| scope.spawn(move || read_at(file, part, (i * part_bytes) as u64))).collect();
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked"))))
    })?;
    memory.make_read_only()
}

#[cfg(unix)]
fn read_at(file: &File, part: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, part, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut part: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !part.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_read(file, part, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (part, offset) = (&mut part[n..], offset + n as u64);
    }
    Ok(())
}

/// One call maps many pages (Linux 5.14 and newer); else every page is touched.
fn populate(map: &Mmap, offset: usize, num_bytes: usize) {
    #[cfg(target_os = "linux")]
    if map.advise_range(memmap2::Advice::PopulateRead, offset, num_bytes).is_ok() {
        return;
    }
    let pages = map[offset..offset + num_bytes].iter().step_by(PAGE_BYTES);
    std::hint::black_box(pages.fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
}

#[cfg(unix)]
fn lock(map: &Mmap) -> bool {
    map.lock().is_ok()
}

#[cfg(not(unix))]
fn lock(_: &Mmap) -> bool {
    false
}
