//! Models split over files `NAME-00001-of-0000N.gguf`.

use std::path::{Path, PathBuf};

use crate::{GgufError, Metadata};

const MAX_SPLITS: u64 = 9_999;

/// The other files of the split whose first file is `path`; empty when the model is not split.
pub(crate) fn siblings(path: &Path, metadata: &Metadata) -> Result<Vec<PathBuf>, GgufError> {
    let count = metadata.uint("split.count")?.unwrap_or(1);
    if count <= 1 {
        return Ok(Vec::new());
    }
    if count > MAX_SPLITS {
        return Err(GgufError::invalid("split.count", count, format!("at most {MAX_SPLITS}")));
    }
    let no = metadata.uint("split.no")?.unwrap_or(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if no != 0 {
        let expected = format!("0: give the first file, ...-00001-of-{count:05}.gguf, instead of `{name}`");
        return Err(GgufError::invalid("split.no", no, expected));
    }
    let suffix = format!("-00001-of-{count:05}.gguf");
    let Some(stem) = name.strip_suffix(&suffix) else {
        return Err(GgufError::invalid("file name", format!("`{name}`"), format!("a name ending in `{suffix}`")));
    };
    Ok((2..=count).map(|i| path.with_file_name(format!("{stem}-{i:05}-of-{count:05}.gguf"))).collect())
}

/// Checks that a further file of a split is the one that its name says: number `no` (from 0) of `count`.
pub(crate) fn check_sibling(metadata: &Metadata, no: u64, count: u64) -> Result<(), GgufError> {
    for (key, expected) in [("split.no", no), ("split.count", count)] {
        let found = metadata.require(key, metadata.uint(key))?;
        if found != expected {
            return Err(GgufError::invalid(key, found, format!("{expected}, as the file's name says")));
        }
    }
    Ok(())
}

/// Checks that the files together hold as many tensors as the first one promises.
pub(crate) fn check_tensor_count(metadata: &Metadata, found: usize) -> Result<(), GgufError> {
    match metadata.uint("split.tensors.count")? {
        Some(promised) if promised != found as u64 => {
            Err(GgufError::invalid("split.tensors.count", promised, format!("{found}, the tensors in all files")))
        }
        _ => Ok(()),
    }
}

/// The names of the files of a model: `path` itself, or `STEM-00001-of-0000N.gguf` and so on; `path` may be the first of
/// these.
#[must_use]
pub fn names(path: &Path, count: usize) -> Vec<PathBuf> {
    if count <= 1 {
        return vec![path.to_owned()];
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    let stem = stem.strip_suffix(&format!("-00001-of-{count:05}")).unwrap_or(stem);
    (1..=count).map(|i| path.with_file_name(format!("{stem}-{i:05}-of-{count:05}.gguf"))).collect()
}
