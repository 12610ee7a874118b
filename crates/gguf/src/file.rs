//! An open model: one file or all the files of a split.

use std::{collections::HashMap, io::Read, ops::Range, path::Path};

use quant::GgmlType;

use crate::{
    GgufError, Metadata, NewTensor, OpenOptions,
    bytes::Bytes,
    header::{self, Header, TensorEntry},
    split,
    writer::layout,
};

/// A parsed GGUF. Tensor data stays where it is (mapped or embedded) and is borrowed from here.
pub struct Gguf {
    version: u32,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
    shards: Vec<Bytes>,
}

/// A tensor of a [`Gguf`].
#[derive(Clone, Debug)]
pub struct TensorInfo {
    /// Its name, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, fastest-varying first: `[columns, rows, ...]`.
    pub shape: Vec<usize>,
    /// How its weights are stored.
    pub ggml_type: GgmlType,
    /// Its size in bytes.
    pub num_bytes: usize,
    shard_idx: usize,
    offset: usize,
}

impl TensorInfo {
    /// Number of weights.
    #[must_use]
    pub fn num_weights(&self) -> usize {
        self.shape.iter().product()
    }

    /// Some rows as a tensor of their own: of a matrix, of all matrices that lie one behind the other, or, where there
    /// is one dimension, some elements. `None` when there are no such rows, or when elements share a block.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Option<Self> {
        let (num_rows, row_shape) = match &self.shape[..] {
            [num_elements] => (*num_elements, None),
            [columns, rows @ ..] => (rows.iter().product(), Some(*columns)),
            [] => return None,
        };
        let fits = rows.start < rows.end && rows.end <= num_rows && self.num_bytes.is_multiple_of(num_rows);
        if !fits || (row_shape.is_none() && self.ggml_type.block_len() > 1) {
            return None;
        }
        let row_bytes = self.num_bytes / num_rows;
        Some(Self {
            shape: row_shape.into_iter().chain([rows.len()]).collect(),
            num_bytes: row_bytes * rows.len(),
            offset: self.offset + row_bytes * rows.start,
            ..self.clone()
        })
    }
}

impl Gguf {
    /// Maps a file; the first file of a split opens all its siblings.
    ///
    /// # Errors
    /// [`GgufError`] when a file cannot be read or is not a sound GGUF.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens a file so; the first file of a split opens all its siblings.
    ///
    /// # Errors
    /// [`GgufError`] when a file cannot be read or is not a sound GGUF.
    pub fn open_with(path: &Path, options: OpenOptions) -> Result<Self, GgufError> {
        let mut gguf = Self::from_shard(Bytes::open(path, options)?)?;
        let siblings = split::siblings(path, &gguf.metadata)?;
        for (no, sibling) in (1..).zip(&siblings) {
            gguf.add_sibling(Bytes::open(sibling, options)?, no, siblings.len() as u64 + 1)
                .map_err(|source| GgufError::Sibling { path: sibling.clone(), source: Box::new(source) })?;
        }
        split::check_tensor_count(&gguf.metadata, gguf.tensors.len())?;
        Ok(gguf)
    }

    /// Parses a model that is embedded in the program.
    ///
    /// # Errors
    /// [`GgufError`] when the bytes are not a sound GGUF.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, GgufError> {
        Self::from_shard(Bytes::Static(bytes))
    }

    /// Parses a model held in memory.
    ///
    /// # Errors
    /// [`GgufError`] when the bytes are not a sound GGUF.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::from_shard(Bytes::Owned(bytes))
    }

    /// A file that is yet to be written: metadata and tensors without their data, to be checked before it is made.
    ///
    /// # Errors
    /// [`GgufError`] when a tensor cannot be stored.
    pub fn describe(metadata: Metadata, tensors: &[NewTensor]) -> Result<Self, GgufError> {
        let mut gguf = Self::empty();
        gguf.version = 3;
        gguf.metadata = metadata;
        for NewTensor { name, shape, ggml_type } in tensors.iter().cloned() {
            let num_bytes = layout::num_bytes(&name, &shape, ggml_type)?;
            gguf.by_name.insert(name.clone(), gguf.tensors.len());
            gguf.tensors.push(TensorInfo { name, shape, ggml_type, num_bytes, shard_idx: 0, offset: 0 });
        }
        Ok(gguf)
    }

    /// The header of a model that lies elsewhere: one file, or all files of a split in their order, each its bytes from the
    /// beginning and how many there are. No more is read than the headers and what a reader holds; there is no data.
    ///
    /// # Errors
    /// [`GgufError`] when the readers fail or these are no sound GGUF files.
    pub fn read_headers(files: &mut [(&mut dyn Read, u64)]) -> Result<Self, GgufError> {
        let count = files.len() as u64;
        let mut gguf = Self::empty();
        for (no, (reader, file_bytes)) in files.iter_mut().enumerate() {
            let metadata = gguf.add_header(header::read(*reader, *file_bytes)?, no)?;
            if no == 0 {
                gguf.metadata = metadata;
            } else {
                split::check_sibling(&metadata, no as u64, count)?;
            }
        }
        split::check_tensor_count(&gguf.metadata, gguf.tensors.len())?;
        Ok(gguf)
    }

    /// The format version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata (of the first file of a split).
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Mutable metadata, for overrides from the command line.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// All tensors, in file order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor with this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|&i| &self.tensors[i])
    }

    /// The bytes of one of this file's tensors; none of a file that is only described.
    #[must_use]
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        let Some(shard) = self.shards.get(tensor.shard_idx) else { return &[] };
        &shard.as_slice()[tensor.offset..tensor.offset + tensor.num_bytes]
    }

    /// Brings a tensor's bytes into memory where they are mapped, so that whoever needs them first need not wait for the
    /// disk.
    pub fn populate(&self, tensor: &TensorInfo) {
        self.shards[tensor.shard_idx].populate(tensor.offset, tensor.num_bytes);
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.shards.iter().map(|s| s.as_slice().len() as u64).sum()
    }

    /// Number of files: more than one for a split.
    #[must_use]
    pub fn num_files(&self) -> usize {
        self.shards.len()
    }

    /// Which of the files a tensor lies in, from 0.
    #[must_use]
    pub fn file_of(&self, tensor: &TensorInfo) -> usize {
        tensor.shard_idx
    }

    /// Whether all bytes are kept from swapping, as [`OpenOptions::lock`] asks.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.shards.iter().all(Bytes::is_locked)
    }

    /// Bytes of all tensors together.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.num_bytes as u64).sum()
    }

    fn empty() -> Self {
        Self {
            version: 0,
            metadata: Metadata::default(),
            tensors: Vec::new(),
            by_name: HashMap::new(),
            shards: Vec::new(),
        }
    }

    fn from_shard(bytes: Bytes) -> Result<Self, GgufError> {
        let mut gguf = Self::empty();
        gguf.metadata = gguf.add_shard(bytes)?;
        Ok(gguf)
    }

    fn add_sibling(&mut self, bytes: Bytes, no: u64, count: u64) -> Result<(), GgufError> {
        split::check_sibling(&self.add_shard(bytes)?, no, count)
    }

    fn add_shard(&mut self, bytes: Bytes) -> Result<Metadata, GgufError> {
        let header = header::parse(bytes.as_slice(), bytes.as_slice().len() as u64)?;
        let metadata = self.add_header(header, self.shards.len())?;
        self.shards.push(bytes);
        Ok(metadata)
    }

    fn add_header(&mut self, header: Header, shard_idx: usize) -> Result<Metadata, GgufError> {
        self.version = header.version;
        for entry in header.tensors {
            let TensorEntry { name, shape, ggml_type, offset, num_bytes } = entry;
            if self.by_name.insert(name.clone(), self.tensors.len()).is_some() {
                let found = "in two files of the split";
                return Err(GgufError::invalid(format!("tensor {name}"), found, "one place per tensor"));
            }
            self.tensors.push(TensorInfo { name, shape, ggml_type, num_bytes, shard_idx, offset });
        }
        Ok(header.metadata)
    }
}
