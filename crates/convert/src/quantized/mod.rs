//! Checkpoints whose weights are quantized. Each format takes its parts from the list of stored tensors and gives tensors
//! that are read as floats.

mod grouped;
mod method;
mod mxfp4;
mod packed;
mod scaled;

use std::collections::BTreeMap;

use crate::{
    ConvertError,
    json::Json,
    nf4,
    safetensors::{Dtype, StoredTensor},
    tensor::Tensor,
};
use method::Method;

/// Stored tensors by name, less those that were taken.
pub(crate) type Stored = BTreeMap<String, StoredTensor>;

/// The tensors of a checkpoint, by what its configuration and the names of its parts say of their formats.
pub(crate) fn resolve(mut stored: Stored, config: &Json) -> Result<Vec<Tensor>, ConvertError> {
    let mut tensors = mxfp4::take(&mut stored)?;
    tensors.extend(match Method::of(config)? {
        Method::Plain => Vec::new(),
        Method::Scaled { block } => scaled::take(&mut stored, block)?,
        Method::Packed { bits } => packed::take(&mut stored, bits)?,
        Method::Grouped(layout) => grouped::take(&mut stored, layout)?,
    });
    tensors.extend(nf4::take(&mut stored)?);
    tensors.extend(stored.into_values().map(Tensor::from));
    Ok(tensors)
}

/// The names that stand before a suffix in the list.
fn names_before(stored: &Stored, suffix: &str) -> Vec<String> {
    stored.keys().filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
}

/// Takes the part of a tensor, which must be there.
fn take_part(stored: &mut Stored, name: &str, suffix: &str) -> Result<StoredTensor, ConvertError> {
    let missing = || ConvertError::tensor(name, format!("is quantized, but its part `{name}{suffix}` is missing"));
    stored.remove(&format!("{name}{suffix}")).ok_or_else(missing)
}

/// Checks a part's type and shape.
fn check_part(part: &StoredTensor, dtypes: &[Dtype], shape: &[usize]) -> Result<(), ConvertError> {
    if dtypes.contains(&part.dtype) && part.shape == shape {
        return Ok(());
    }
    let names: Vec<_> = dtypes.iter().map(|t| t.name()).collect();
    let what = format!(
        "is {} of shape {:?}; expected {} of shape {shape:?}",
        part.dtype.name(),
        part.shape,
        names.join(" or ")
    );
    Err(ConvertError::tensor(&part.name, what))
}

/// The types of scales.
const FLOATS: &[Dtype] = &[Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::F8_E8M0];

/// Reads words of 32 bits, each of which holds several codes.
fn words(part: &StoredTensor, first: usize, num: usize) -> Result<Vec<u32>, ConvertError> {
    let bytes = part.bytes(first, num)?;
    Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}
