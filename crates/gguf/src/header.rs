//! Parses the part of a file before the tensor data.

use std::{collections::HashSet, io::Read};

use quant::GgmlType;

use crate::{GgufError, Metadata, cursor::Cursor, value::read_value};

/// What is read of a header first; vocabularies take some MiB.
const FIRST_PIECE_BYTES: u64 = 1 << 20;
const MAGIC: &[u8] = b"GGUF";
pub(crate) const MAX_DIMS: u32 = 4;
pub(crate) const MAX_ALIGNMENT: u64 = 1 << 20;
pub(crate) const MAX_NAME_BYTES: usize = 1024;
/// Metadata values; real files have some tens.
const MAX_VALUES: u64 = 1 << 16;
/// Tensors; a model of 100 layers with 256 experts each, one tensor for every matrix of theirs, has 80 thousand.
const MAX_TENSORS: u64 = 1 << 18;

/// A tensor as the file describes it; `offset` counts from the start of the file.
#[derive(Clone, Debug)]
pub(crate) struct TensorEntry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) ggml_type: GgmlType,
    pub(crate) offset: usize,
    pub(crate) num_bytes: usize,
}

/// Everything before the tensor data of one file.
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorEntry>,
}

/// Parses and checks the header of a file of `file_bytes` bytes, of which `bytes` are the first.
///
/// # Errors
/// [`GgufError`]; [`GgufError::Truncated`] also where the header goes on behind `bytes`.
pub(crate) fn parse(bytes: &[u8], file_bytes: u64) -> Result<Header, GgufError> {
    let mut cursor = Cursor::new(bytes);
    if !bytes.starts_with(MAGIC) {
        return Err(GgufError::Magic { found: bytes[..bytes.len().min(4)].to_vec() });
    }
    cursor.take(4, "magic")?;
    let version = cursor.u32("version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    // A tensor entry takes at least a name length, a dimension count, one dimension, a type and an offset.
    let num_tensors = cursor.count(32, MAX_TENSORS, "tensor_count")?;
    let num_values = cursor.count(13, MAX_VALUES, "metadata_kv_count")?;
    let metadata = parse_metadata(&mut cursor, num_values)?;
    let alignment = alignment(&metadata)?;
    let mut tensors = (0..num_tensors).map(|i| parse_tensor(&mut cursor, i)).collect::<Result<Vec<_>, _>>()?;
    place_tensors(&mut tensors, file_bytes, (cursor.pos() as u64).next_multiple_of(alignment), alignment)?;
    Ok(Header { version, metadata, tensors })
}

/// Reads the header of a file of `file_bytes` bytes, in pieces that double until it is whole.
pub(crate) fn read(reader: &mut dyn Read, file_bytes: u64) -> Result<Header, GgufError> {
    let mut bytes = Vec::new();
    let mut wanted = FIRST_PIECE_BYTES;
    loop {
        let missing = wanted.min(file_bytes).saturating_sub(bytes.len() as u64);
        let io = |source| GgufError::Io { path: "the model's header".into(), source };
        let found = reader.take(missing).read_to_end(&mut bytes).map_err(io)? as u64;
        match parse(&bytes, file_bytes) {
            Err(GgufError::Truncated { .. }) if found == missing && (bytes.len() as u64) < file_bytes => wanted *= 2,
            result => return result,
        }
    }
}

fn parse_metadata(cursor: &mut Cursor<'_>, num_values: usize) -> Result<Metadata, GgufError> {
    let mut metadata = Metadata::default();
    for i in 0..num_values {
        let key = cursor.string(&format!("key of metadata value {i}"))?;
        let (value, value_type) = read_value(cursor, &key)?;
        if !metadata.insert_as(key.clone(), value, value_type) {
            return Err(GgufError::invalid(key, "given twice", "one value per metadata key"));
        }
    }
    Ok(metadata)
}

pub(crate) fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    let key = "general.alignment";
    let alignment = metadata.uint(key)?.unwrap_or(32);
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(GgufError::invalid(key, alignment, format!("a power of two up to {MAX_ALIGNMENT}")));
    }
    Ok(alignment)
}

/// Reads one entry; its offset still counts from the start of the tensor data.
fn parse_tensor(cursor: &mut Cursor<'_>, idx: usize) -> Result<TensorEntry, GgufError> {
    let name = cursor.string(&format!("name of tensor {idx}"))?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let found = format!("{} bytes long", name.len());
        return Err(GgufError::invalid(format!("name of tensor {idx}"), found, format!("1 to {MAX_NAME_BYTES} bytes")));
    }
    let num_dims = cursor.u32(&format!("dimension count of {name}"))?;
    if !(1..=MAX_DIMS).contains(&num_dims) {
        return Err(GgufError::invalid(format!("dimension count of {name}"), num_dims, format!("1 to {MAX_DIMS}")));
    }
    let field = format!("dimensions of {name}");
    let dims = (0..num_dims).map(|_| cursor.u64(&field)).collect::<Result<Vec<_>, _>>()?;
    let id = cursor.u32(&format!("type of {name}"))?;
    let ggml_type = GgmlType::from_id(id).ok_or_else(|| GgufError::UnknownType { tensor: name.clone(), id })?;
    let offset = cursor.u64(&format!("offset of {name}"))?;
    let num_bytes = tensor_bytes(ggml_type, &dims).ok_or_else(|| {
        let expected = format!("positive, the first a multiple of {} ({ggml_type} blocks)", ggml_type.block_len());
        GgufError::invalid(&field, format!("{dims:?}"), expected)
    })?;
    let offset = usize::try_from(offset)
        .map_err(|_| GgufError::invalid(format!("offset of {name}"), offset, "a file offset"))?;
    // A tensor of 2^63 weights overflowed above already, so every dimension fits.
    Ok(TensorEntry { name, shape: dims.iter().map(|&d| d as usize).collect(), ggml_type, offset, num_bytes })
}

fn tensor_bytes(ggml_type: GgmlType, dims: &[u64]) -> Option<usize> {
    let rows = dims[1..].iter().try_fold(1_u64, |n, &d| n.checked_mul(d))?;
    let bytes = ggml_type.row_bytes(dims[0])?.checked_mul(rows)?;
    // Counting weights too keeps later arithmetic on shapes from overflowing.
    dims[0].checked_mul(rows).filter(|&n| n > 0 && n < 1 << 62)?;
    usize::try_from(bytes).ok()
}

/// Makes offsets absolute and checks that every tensor lies in the file, aligned, named once, apart from the others.
fn place_tensors(
    tensors: &mut [TensorEntry],
    file_bytes: u64,
    data_start: u64,
    alignment: u64,
) -> Result<(), GgufError> {
    let mut names = HashSet::with_capacity(tensors.len());
    for t in tensors.iter_mut() {
        if !names.insert(t.name.clone()) {
            return Err(GgufError::invalid(format!("tensor {}", t.name), "listed twice", "one entry per tensor"));
        }
        if !(t.offset as u64).is_multiple_of(alignment) {
            let expected = format!("a multiple of the alignment {alignment}");
            return Err(GgufError::invalid(format!("offset of {}", t.name), t.offset, expected));
        }
        let start = data_start.saturating_add(t.offset as u64);
        if start.saturating_add(t.num_bytes as u64) > file_bytes {
            return Err(GgufError::Truncated {
                field: format!("data of {}", t.name),
                offset: start,
                need: t.num_bytes as u64,
                have: file_bytes.saturating_sub(start),
            });
        }
        t.offset = start as usize;
    }
    let mut by_offset: Vec<_> = tensors.iter().collect();
    by_offset.sort_by_key(|t| t.offset);
    for pair in by_offset.windows(2) {
        if pair[0].offset + pair[0].num_bytes > pair[1].offset {
            let found = format!("inside `{}`", pair[0].name);
            return Err(GgufError::invalid(
                format!("offset of {}", pair[1].name),
                found,
                "tensors that do not overlap",
            ));
        }
    }
    Ok(())
}
