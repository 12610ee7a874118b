//! Writes files field by field, wrong ones too.

/// Bytes of a file or of a part of it.
#[derive(Clone, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn u32(self, n: u32) -> Self {
        self.bytes(&n.to_le_bytes())
    }

    pub(crate) fn u64(self, n: u64) -> Self {
        self.bytes(&n.to_le_bytes())
    }

    pub(crate) fn str(self, s: &str) -> Self {
        self.u64(s.len() as u64).bytes(s.as_bytes())
    }

    pub(crate) fn raw(self, other: &Self) -> Self {
        self.bytes(&other.0)
    }

    /// Zeros up to a multiple of `alignment`.
    pub(crate) fn pad(mut self, alignment: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }
}

/// The start of a file.
pub(crate) fn head(version: u32, num_tensors: u64, num_values: u64) -> Raw {
    Raw::new().bytes(b"GGUF").u32(version).u64(num_tensors).u64(num_values)
}

/// A file with one metadata value `key`, given as its type id and bytes.
pub(crate) fn with_value(type_id: u32, value: &Raw) -> Vec<u8> {
    head(3, 0, 1).str("key").u32(type_id).raw(value).0
}

/// One entry of the tensor list.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) dims: Vec<u64>,
    pub(crate) type_id: u32,
    pub(crate) offset: u64,
}

impl Default for Tensor {
    /// Eight floats at the start of the data.
    fn default() -> Self {
        Self { name: "a", dims: vec![8], type_id: 0, offset: 0 }
    }
}

/// A file with these tensors and `num_data_bytes` of data.
pub(crate) fn with_tensors(tensors: &[Tensor], num_data_bytes: usize) -> Vec<u8> {
    let mut raw = head(3, tensors.len() as u64, 0);
    for tensor in tensors {
        raw = raw.str(tensor.name).u32(tensor.dims.len() as u32);
        raw = tensor.dims.iter().fold(raw, |raw, &dim| raw.u64(dim));
        raw = raw.u32(tensor.type_id).u64(tensor.offset);
    }
    raw.pad(32).bytes(&vec![7; num_data_bytes]).0
}
