//! Finds the files of a model and lists their tensors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OpenFile, StoredTensor, header};
use crate::{ConvertError, json::Json};

/// Lists the tensors of a file, in its order.
pub(crate) fn open_file(path: &Path) -> Result<Vec<StoredTensor>, ConvertError> {
    let file = File::open(path).map_err(ConvertError::io(path))?;
    let file_bytes = file.metadata().map_err(ConvertError::io(path))?.len();
    let invalid = |what| ConvertError::invalid(path, what);
    if file_bytes < 8 {
        return Err(invalid(format!("has {file_bytes} bytes: it is no safetensors file")));
    }
    let mut len = [0; 8];
    file.read_exact_at(&mut len, 0).map_err(ConvertError::io(path))?;
    let len = header::check_len(u64::from_le_bytes(len), file_bytes).map_err(invalid)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 8).map_err(ConvertError::io(path))?;
    let start = 8 + len as u64;
    let entries = header::parse(&bytes, file_bytes - start).map_err(invalid)?;
    let file = Arc::new(OpenFile { file, path: path.to_owned() });
    let tensors = entries.into_iter().map(|e| StoredTensor {
        name: e.name,
        shape: e.shape,
        dtype: e.dtype,
        offset: start + e.begin,
        file: Arc::clone(&file),
    });
    Ok(tensors.collect())
}

/// Lists the tensors of all files of a model by name.
pub(crate) fn open_folder(folder: &Path) -> Result<BTreeMap<String, StoredTensor>, ConvertError> {
    let index = Json::read_optional(&folder.join("model.safetensors.index.json"))?;
    let weight_map = index.as_ref().map(weight_map).transpose()?;
    let paths = match &weight_map {
        Some(map) => map.values().cloned().collect::<BTreeSet<_>>().into_iter().map(|n| folder.join(n)).collect(),
        None => parts(folder)?,
    };
    if let Some(missing) = paths.iter().find(|p| !p.is_file()) {
        let what = "is missing, but `model.safetensors.index.json` names it: download the model's other files";
        return Err(ConvertError::invalid(missing, what));
    }
    let mut tensors = BTreeMap::new();
    for path in &paths {
        for tensor in open_file(path)? {
            if let Some(other) = tensors.insert(tensor.name.clone(), tensor) {
                let what = format!("stores tensor `{}`, and so does `{}`", other.name, other.file.path.display());
                return Err(ConvertError::invalid(path, what));
            }
        }
    }
    if let Some(name) = weight_map.iter().flat_map(BTreeMap::keys).find(|n| !tensors.contains_key(*n)) {
        return Err(ConvertError::tensor(name, "is in model.safetensors.index.json, but in none of its files"));
    }
    Ok(tensors)
}

/// Which file each tensor is in. Names of files are names, not paths.
fn weight_map(index: &Json) -> Result<BTreeMap<String, String>, ConvertError> {
    let map = index.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| index.wrong("weight_map", "an object of file names"))?;
    map.iter()
        .map(|(tensor, file)| {
            let name = file.as_str().filter(|n| Path::new(n).file_name().is_some_and(|f| f == *n));
            let name = name.ok_or_else(|| index.wrong("weight_map", "an object of file names without folders"))?;
            Ok((tensor.clone(), name.to_owned()))
        })
        .collect()
}

/// The files `model*.safetensors` of a folder without an index.
fn parts(folder: &Path) -> Result<Vec<PathBuf>, ConvertError> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder).map_err(ConvertError::io(folder))? {
        let path = entry.map_err(ConvertError::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("model") && name.ends_with(".safetensors") {
            parts.push(path);
        }
    }
    parts.sort();
    if parts.is_empty() {
        return Err(ConvertError::invalid(
            folder,
            "has no `model*.safetensors`; weights in other formats are not read",
        ));
    }
    Ok(parts)
}
