//! Writes a safetensors file: aside, then renamed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde_json::{Map, json};

use super::Dtype;
use crate::ConvertError;

/// A tensor to be written.
pub struct OutTensor {
    /// Its name.
    pub name: String,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

/// Writes `tensors` to `path`; `data` gives the bytes of each in turn.
///
/// # Errors
/// [`ConvertError`] when `data` fails or the system refuses; nothing then stands under `path` that was not there before.
pub fn write(
    path: &Path,
    tensors: &[OutTensor],
    mut data: impl FnMut(usize) -> Result<Vec<u8>, ConvertError>,
) -> Result<(), ConvertError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let aside = Path::new(&aside);
    let result = (|| {
        let mut file = File::create(aside).map_err(ConvertError::io(aside))?;
        file.write_all(&header(tensors)).map_err(ConvertError::io(aside))?;
        for (idx, tensor) in tensors.iter().enumerate() {
            let (bytes, size) = (data(idx)?, num_bytes(tensor));
            if bytes.len() != size {
                let what = format!("has {} bytes of data instead of {size}", bytes.len());
                return Err(ConvertError::tensor(&tensor.name, what));
            }
            file.write_all(&bytes).map_err(ConvertError::io(aside))?;
        }
        sync_and_rename(&file, aside, path).map_err(ConvertError::io(aside))
    })();
    if result.is_err() {
        // What is left of it says `.part`; the error that matters is the first one.
        let _ = fs::remove_file(aside);
    }
    result
}

fn sync_and_rename(file: &File, aside: &Path, path: &Path) -> io::Result<()> {
    file.sync_data()?;
    fs::rename(aside, path)
}

fn num_bytes(tensor: &OutTensor) -> usize {
    tensor.shape.iter().product::<usize>() * tensor.dtype.num_bytes()
}

fn header(tensors: &[OutTensor]) -> Vec<u8> {
    let mut map = Map::new();
    map.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + num_bytes(tensor);
        let entry = json!({"dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [offset, end]});
        map.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut text = serde_json::Value::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    [(text.len() as u64).to_le_bytes().as_slice(), &text].concat()
}
