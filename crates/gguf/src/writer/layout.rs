//! Where each tensor lies: in which file, at which offset.

use std::collections::HashSet;

use quant::GgmlType;

use super::{NewTensor, Split, WriteError};
use crate::{GgufError, Metadata, Value, ValueType, encode, header};

static ZEROS: [u8; header::MAX_ALIGNMENT as usize] = [0; header::MAX_ALIGNMENT as usize];

/// All tensors in their places.
pub(super) struct Layout {
    pub(super) tensors: Vec<PlacedTensor>,
    files: Vec<FileLayout>,
    alignment: usize,
}

pub(super) struct PlacedTensor {
    pub(super) tensor: NewTensor,
    pub(super) num_bytes: usize,
    pub(super) file: usize,
    /// From the start of the file's tensor data.
    offset: usize,
}

#[derive(Default)]
struct FileLayout {
    metadata: Metadata,
    num_tensors: usize,
    /// Without padding: what the limit of a split counts.
    tensor_bytes: u64,
    /// With padding.
    data_bytes: usize,
}

impl Layout {
    pub(super) fn new(metadata: &Metadata, tensors: Vec<NewTensor>, split: &Split) -> Result<Self, WriteError> {
        let alignment = header::alignment(metadata)? as usize;
        let mut layout = Self { tensors: Vec::new(), files: vec![FileLayout::default()], alignment };
        let mut names = HashSet::new();
        for tensor in tensors {
            if !names.insert(tensor.name.clone()) {
                return Err(
                    GgufError::invalid(format!("tensor {}", tensor.name), "announced twice", "one entry").into()
                );
            }
            layout.place(tensor, split)?;
        }
        layout.set_metadata(metadata);
        Ok(layout)
    }

    pub(super) fn num_files(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all tensors of a file, with padding.
    pub(super) fn data_bytes(&self, file: usize) -> usize {
        self.files[file].data_bytes
    }

    /// What brings data of this size to the alignment.
    pub(super) fn padding(&self, num_bytes: usize) -> &'static [u8] {
        &ZEROS[..num_bytes.next_multiple_of(self.alignment) - num_bytes]
    }

    /// A file's bytes before its tensor data.
    pub(super) fn header(&self, file: usize) -> Vec<u8> {
        let FileLayout { metadata, num_tensors, .. } = &self.files[file];
        let mut out = Vec::new();
        encode::put_preamble(&mut out, *num_tensors, metadata.iter().count());
        for (key, value) in metadata.iter() {
            let value_type = metadata.value_type(key).unwrap_or_else(|| ValueType::of(value));
            encode::put_pair(&mut out, key, value, value_type);
        }
        for PlacedTensor { tensor, offset, .. } in self.tensors.iter().filter(|t| t.file == file) {
            encode::put_tensor(&mut out, &tensor.name, &tensor.shape, tensor.ggml_type, *offset);
        }
        out.extend(self.padding(out.len()));
        out
    }

    fn place(&mut self, tensor: NewTensor, split: &Split) -> Result<(), WriteError> {
        let num_bytes = num_bytes(&tensor.name, &tensor.shape, tensor.ggml_type)?;
        let mut file = self.files.len() - 1;
        let FileLayout { num_tensors, tensor_bytes, .. } = self.files[file];
        let is_full = match split {
            Split::Whole => false,
            Split::MaxBytes(max) => tensor_bytes + num_bytes as u64 > *max,
            Split::Tensors(counts) => file + 1 < counts.len() && num_tensors >= counts[file],
        };
        if is_full && num_tensors > 0 {
            self.files.push(FileLayout::default());
            file += 1;
        }
        let layout = &mut self.files[file];
        let offset = layout.data_bytes;
        layout.num_tensors += 1;
        layout.tensor_bytes += num_bytes as u64;
        layout.data_bytes += num_bytes.next_multiple_of(self.alignment);
        self.tensors.push(PlacedTensor { tensor, num_bytes, file, offset });
        Ok(())
    }

    /// The first file has all metadata; each file of a split says which one it is.
    fn set_metadata(&mut self, metadata: &Metadata) {
        let (num_files, num_tensors) = (self.files.len(), self.tensors.len());
        self.files[0].metadata = metadata.clone();
        for key in ["split.no", "split.count", "split.tensors.count"] {
            self.files[0].metadata.remove(key);
        }
        if num_files == 1 {
            return;
        }
        for (no, FileLayout { metadata, .. }) in self.files.iter_mut().enumerate() {
            if self.alignment != 32 {
                metadata.insert("general.alignment", Value::Uint(self.alignment as u64));
            }
            metadata.insert_as("split.no", Value::Uint(no as u64), ValueType::U16);
            metadata.insert_as("split.count", Value::Uint(num_files as u64), ValueType::U16);
            metadata.insert("split.tensors.count", Value::Int(num_tensors as i64));
        }
    }
}

/// The bytes of a tensor, if it can be stored.
pub(crate) fn num_bytes(name: &str, shape: &[usize], ggml_type: GgmlType) -> Result<usize, GgufError> {
    if shape.is_empty()
        || shape.len() > header::MAX_DIMS as usize
        || shape.contains(&0)
        || name.len() > header::MAX_NAME_BYTES
    {
        let expected = format!("1 to {} positive dimensions and a short name", header::MAX_DIMS);
        return Err(GgufError::invalid(format!("tensor {name}"), format!("of shape {shape:?}"), expected));
    }
    let row_bytes = ggml_type.row_bytes(shape[0] as u64);
    let num_bytes = shape[1..].iter().try_fold(row_bytes, |n, &d| Some(n?.checked_mul(d as u64)));
    match num_bytes.flatten() {
        Some(n) if n <= isize::MAX as u64 / 2 => Ok(n as usize),
        _ => {
            let expected = format!("rows of whole {ggml_type} blocks of {}", ggml_type.block_len());
            Err(GgufError::invalid(format!("shape of {name}"), format!("{shape:?}"), expected))
        }
    }
}
