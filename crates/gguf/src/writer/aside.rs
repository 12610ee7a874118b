//! A file that is written beside its final name.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::WriteError;

/// `NAME.part` until it is committed; removed when dropped before.
pub struct AsideFile {
    file: File,
    path: PathBuf,
    aside: PathBuf,
    num_bytes: u64,
}

impl AsideFile {
    /// Creates the file and takes its room on the disk, where the file system can.
    ///
    /// # Errors
    /// [`WriteError`] when it cannot be created, is being written by another program, or there is no room.
    pub fn create(path: &Path, num_bytes: u64) -> Result<Self, WriteError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let aside = path.with_file_name(name);
        let io = |source| WriteError::Io { path: aside.clone(), source };
        // Not truncated yet: another writer may be at work, and left-overs of one that was killed are taken over.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&aside).map_err(io)?;
        match file.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => return Err(WriteError::Busy { path: aside }),
        }
        let this = Self { file, path: path.to_owned(), aside, num_bytes };
        this.file.set_len(0).map_err(|e| this.error(e))?;
        this.reserve()?;
        Ok(this)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`WriteError::Full`] or [`WriteError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(|e| self.error(e))
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// [`WriteError::Full`] or [`WriteError::Io`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.file.sync_data().map_err(|e| self.error(e))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`WriteError::Exists`] when there is such a file, unless it shall be replaced; [`WriteError::Io`].
    pub fn commit(self, overwrite: bool) -> Result<(), WriteError> {
        if !overwrite && self.path.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path: self.path.clone() });
        }
        fs::rename(&self.aside, &self.path).map_err(|e| self.error(e))
    }

    fn reserve(&self) -> Result<(), WriteError> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, self.num_bytes) {
            Err(e @ (Errno::NOSPC | Errno::FBIG | Errno::DQUOT)) => Err(self.error(e.into())),
            // Not every file system can; the disk is then found full while writing.
            _ => Ok(()),
        }
    }

    fn error(&self, source: io::Error) -> WriteError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                WriteError::Full { path: self.aside.clone(), need: self.num_bytes }
            }
            _ => WriteError::Io { path: self.aside.clone(), source },
        }
    }
}

impl Drop for AsideFile {
    fn drop(&mut self) {
        // After a commit there is nothing under this name. A failure leaves a `.part` behind, which says what it is.
        let _ = fs::remove_file(&self.aside);
    }
}
