//! Writes GGUF v3 files of any size: header first, then tensor by tensor in pieces, so memory stays small.
//!
//! Invariant: nothing stands under a final name before everything is written and synced. Files are written aside as
//! `NAME.part` and renamed by [`Writer::finish`], the first file of a split last; dropping a writer removes them.

mod aside;
mod error;
pub(crate) mod layout;

use std::path::{Path, PathBuf};

use quant::GgmlType;

use crate::{Metadata, split};
pub use aside::AsideFile;
pub use error::WriteError;
use layout::{Layout, PlacedTensor};

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, fastest-varying first: `[columns, rows, ...]`.
    pub shape: Vec<usize>,
    /// How its weights are stored.
    pub ggml_type: GgmlType,
}

/// How files are written.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// Replace files that exist; without it they are an error.
    pub overwrite: bool,
    /// What makes several files of one.
    pub split: Split,
}

/// What makes several files of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// There is one file.
    #[default]
    Whole,
    /// A new file begins when the tensors of one would exceed so many bytes; a larger tensor has a file of its own.
    MaxBytes(u64),
    /// The files have so many tensors each, one after the other; what is left over stays in the last one.
    Tensors(Vec<usize>),
}

/// A file, or the files of a split, being written.
pub struct Writer {
    layout: Layout,
    paths: Vec<PathBuf>,
    overwrite: bool,
    files: Vec<AsideFile>,
    /// The tensor being written and how many of its bytes are there.
    next_tensor: usize,
    num_written: usize,
}

impl Writer {
    /// Begins to write `tensors` in this order. For `path` `m.gguf` the files of a split are `m-00001-of-0000N.gguf`.
    /// Keys `split.*` of the metadata are replaced by the right ones.
    ///
    /// # Errors
    /// [`WriteError`] when a file exists, cannot be created or has no room, or when a tensor cannot be stored.
    pub fn create(
        path: &Path,
        metadata: &Metadata,
        tensors: Vec<NewTensor>,
        options: &WriterOptions,
    ) -> Result<Self, WriteError> {
        let layout = Layout::new(metadata, tensors, &options.split)?;
        let paths = split::names(path, layout.num_files());
        if !options.overwrite
            && let Some(path) = paths.iter().find(|p| p.symlink_metadata().is_ok())
        {
            return Err(WriteError::Exists { path: path.clone() });
        }
        let overwrite = options.overwrite;
        let mut writer = Self { layout, paths, overwrite, files: Vec::new(), next_tensor: 0, num_written: 0 };
        writer.begin_file()?;
        Ok(writer)
    }

    /// The tensor whose data comes next; `None` when all are written.
    #[must_use]
    pub fn next(&self) -> Option<&NewTensor> {
        self.layout.tensors.get(self.next_tensor).map(|t| &t.tensor)
    }

    /// Writes all data of the tensor `name`, which must be the next.
    ///
    /// # Errors
    /// [`WriteError`] when it is not, when the data has another size, or when the system refuses.
    pub fn write_tensor(&mut self, name: &str, data: &[u8]) -> Result<(), WriteError> {
        self.expect(name)?;
        self.write(data)?;
        match self.num_written {
            0 => Ok(()),
            found => Err(self.incomplete(found)),
        }
    }

    /// Checks that the next data is that of the tensor `name`, from its beginning.
    ///
    /// # Errors
    /// [`WriteError::Order`] or [`WriteError::Size`].
    pub fn expect(&self, name: &str) -> Result<(), WriteError> {
        if self.num_written > 0 {
            return Err(self.incomplete(self.num_written));
        }
        match self.next() {
            Some(next) if next.name == name => Ok(()),
            next => Err(WriteError::Order { found: name.to_owned(), expected: next.map(|t| t.name.clone()) }),
        }
    }

    /// Writes a piece of the next tensor; the piece that completes it moves on to the following one.
    ///
    /// # Errors
    /// [`WriteError`] when it is longer than what is missing, or when the system refuses.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        let Some(PlacedTensor { tensor, num_bytes, .. }) = self.layout.tensors.get(self.next_tensor) else {
            return Err(WriteError::Order { found: format!("{} bytes more", piece.len()), expected: None });
        };
        let (num_bytes, found) = (*num_bytes, self.num_written + piece.len());
        if found > num_bytes {
            return Err(WriteError::Size { name: tensor.name.clone(), found, expected: num_bytes });
        }
        self.append(piece)?;
        self.num_written = found;
        if found == num_bytes {
            self.append(self.layout.padding(num_bytes))?;
            (self.next_tensor, self.num_written) = (self.next_tensor + 1, 0);
            self.begin_file_of_next()?;
        }
        Ok(())
    }

    /// Syncs the files and gives them their names, which it returns.
    ///
    /// # Errors
    /// [`WriteError`] when data is missing or the system refuses; nothing then stands under the final names that was not
    /// there before.
    pub fn finish(mut self) -> Result<Vec<PathBuf>, WriteError> {
        if self.next().is_some() {
            return Err(self.incomplete(self.num_written));
        }
        self.files.iter_mut().try_for_each(AsideFile::sync)?;
        for file in self.files.drain(..).rev() {
            file.commit(self.overwrite)?;
        }
        Ok(std::mem::take(&mut self.paths))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match self.files.last_mut() {
            Some(file) => file.write(bytes),
            None => Ok(()),
        }
    }

    fn begin_file_of_next(&mut self) -> Result<(), WriteError> {
        match self.layout.tensors.get(self.next_tensor) {
            Some(next) if next.file == self.files.len() => self.begin_file(),
            _ => Ok(()),
        }
    }

    fn begin_file(&mut self) -> Result<(), WriteError> {
        let idx = self.files.len();
        let header = self.layout.header(idx);
        let mut file = AsideFile::create(&self.paths[idx], (header.len() + self.layout.data_bytes(idx)) as u64)?;
        file.write(&header)?;
        self.files.push(file);
        Ok(())
    }

    fn incomplete(&self, found: usize) -> WriteError {
        let tensor = &self.layout.tensors[self.next_tensor];
        WriteError::Size { name: tensor.tensor.name.clone(), found, expected: tensor.num_bytes }
    }
}
