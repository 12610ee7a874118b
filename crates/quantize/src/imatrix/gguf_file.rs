//! The GGUF format: `general.type` is `imatrix`; for each matrix `NAME.in_sum2` `[columns, experts]` and `NAME.counts`
//! `[1, experts]`.

use std::{collections::BTreeMap, path::Path};

use gguf::{Array, GgmlType, Gguf, Metadata, NewTensor, Value, ValueType, WriteError, Writer, WriterOptions};
use quant::{Format, Isa};

use super::{File, FileEntry, ImatrixFormat, sums::Sums};

/// Counts up to here are whole numbers in a file.
const MAX_COUNT: f32 = 1e18;

pub(super) fn parse(gguf: &Gguf) -> Result<File, String> {
    let metadata = gguf.metadata();
    if metadata.get("general.type") != Some(&Value::String("imatrix".to_owned())) {
        return Err("its `general.type` is not `imatrix`".to_owned());
    }
    let floats = |name: &str| -> Result<Vec<f32>, String> {
        let tensor = gguf.tensor(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        let mut values = vec![0.0; tensor.num_weights()];
        let format = Format::of(tensor.ggml_type).map_err(|e| format!("tensor `{name}`: {e}"))?;
        format.decode_row(Isa::detect(), gguf.data(tensor), &mut values);
        Ok(values)
    };
    let mut entries = BTreeMap::new();
    for tensor in gguf.tensors() {
        let Some(name) = tensor.name.strip_suffix(".in_sum2") else { continue };
        let (values, counts) = (floats(&tensor.name)?, floats(&format!("{name}.counts"))?);
        let (columns, rows) = (tensor.shape[0], values.len() / tensor.shape[0]);
        if counts.len() != rows && counts.len() != 1 {
            let found = format!("{} sums in rows of {columns}, {} counts", values.len(), counts.len());
            return Err(format!("`{name}` has {found}; expected a count for each row"));
        }
        let count = |(i, count): (usize, &f32)| {
            let is_count = (0.0..=MAX_COUNT).contains(count);
            is_count.then(|| count.round() as u64).ok_or_else(|| format!("count {i} of `{name}` is {count}"))
        };
        let counts = counts.iter().enumerate().map(count).collect::<Result<_, _>>()?;
        entries.insert(name.to_owned(), FileEntry { values, counts });
    }
    let datasets = match metadata.get("imatrix.datasets") {
        Some(Value::Array(Array::String(names))) => names.iter().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let num_chunks = metadata.uint("imatrix.chunk_count").map_err(|e| e.to_string())?.unwrap_or(0);
    Ok(File { format: ImatrixFormat::Gguf, entries, datasets, num_chunks })
}

pub(super) fn write(sums: &Sums, path: &Path, overwrite: bool) -> Result<(), WriteError> {
    let mut metadata = Metadata::default();
    metadata.insert("general.type", Value::String("imatrix".to_owned()));
    metadata.insert("imatrix.datasets", Value::Array(Array::String(sums.datasets.iter().collect())));
    metadata.insert_as("imatrix.chunk_count", Value::Uint(sums.num_chunks()), ValueType::U32);
    metadata.insert_as("imatrix.chunk_size", Value::Uint(sums.chunk_size()), ValueType::U32);
    let tensor = |name: &str, suffix: &str, num_columns: usize, num_rows: usize| NewTensor {
        name: format!("{name}.{suffix}"),
        shape: vec![num_columns, num_rows],
        ggml_type: GgmlType::F32,
    };
    let tensors = sums.entries().flat_map(|(name, entry)| {
        let num_rows = entry.counts.len();
        [tensor(name, "in_sum2", entry.values.len() / num_rows, num_rows), tensor(name, "counts", 1, num_rows)]
    });
    let options = WriterOptions { overwrite, ..WriterOptions::default() };
    let mut writer = Writer::create(path, &metadata, tensors.collect(), &options)?;
    for (name, entry) in sums.entries() {
        let bytes = |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        writer.write_tensor(&format!("{name}.in_sum2"), &bytes(&mut entry.values.iter().map(|x| *x as f32)))?;
        writer.write_tensor(&format!("{name}.counts"), &bytes(&mut entry.counts.iter().map(|n| *n as f32)))?;
    }
    writer.finish()?;
    Ok(())
}
