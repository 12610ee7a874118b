//! Finds 4-bit tensors in a checkpoint and reads them as floats.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{BLOCK_SIZES, FourBit, NESTED_BLOCK};
use crate::{
    ConvertError, encode,
    safetensors::{Dtype, StoredTensor, open_file},
    tensor::{Rows, Tensor},
};

const MAX_STATE_BYTES: usize = 1 << 16;
/// What follows a quantized tensor's name.
const PARTS: &[&str] = &[".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];
const STATE: &str = ".quant_state.bitsandbytes__";

/// Takes 4-bit tensors with their parts.
pub(crate) fn take(stored: &mut BTreeMap<String, StoredTensor>) -> Result<Vec<Tensor>, ConvertError> {
    let states: Vec<String> = stored.keys().filter(|name| name.contains(STATE)).cloned().collect();
    let mut tensors = Vec::new();
    for key in states {
        let (Some(state), Some((name, kind))) = (stored.remove(&key), key.split_once(STATE)) else { continue };
        let four_bit = match kind {
            "nf4" => FourBit::Nf4,
            "fp4" => FourBit::Fp4,
            _ => return Err(ConvertError::tensor(&key, "is of a kind of quantization that is not known")),
        };
        let mut parts = PARTS.iter().map(|suffix| stored.remove(&format!("{name}{suffix}")));
        let parts = Parts {
            absmax: parts.next().flatten(),
            quant_map: parts.next().flatten(),
            nested_absmax: parts.next().flatten(),
            nested_quant_map: parts.next().flatten(),
        };
        let codes =
            stored.remove(name).ok_or_else(|| ConvertError::tensor(name, "is missing, but its scales are there"))?;
        tensors.push(FourBitTensor::open(name, codes, &state, four_bit, parts)?);
    }
    Ok(tensors)
}

/// All values of a tensor of a file, also of one that is quantized to 4 bits.
///
/// # Errors
/// [`ConvertError`] when the file is unsound or has no such tensor.
pub fn read_floats(path: &Path, name: &str) -> Result<Vec<f32>, ConvertError> {
    let mut stored = open_file(path)?.into_iter().map(|t| (t.name.clone(), t)).collect();
    let quantized = take(&mut stored)?;
    let tensor = quantized.into_iter().chain(stored.into_values().map(Tensor::from)).find(|t| t.name == name);
    tensor.ok_or_else(|| ConvertError::invalid(path, format!("has no tensor `{name}`")))?.values()
}

struct Parts {
    absmax: Option<StoredTensor>,
    quant_map: Option<StoredTensor>,
    nested_absmax: Option<StoredTensor>,
    nested_quant_map: Option<StoredTensor>,
}

/// A 4-bit tensor. The magnitudes of its blocks are in memory, a sixteenth of its size at most.
struct FourBitTensor {
    codes: StoredTensor,
    values: [f32; 16],
    block_size: usize,
    absmax: Vec<f32>,
    num_cols: usize,
    /// What the weights are rounded to, as the model was trained on them.
    rounded_to: Dtype,
}

impl FourBitTensor {
    fn open(
        name: &str,
        codes: StoredTensor,
        state: &StoredTensor,
        four_bit: FourBit,
        parts: Parts,
    ) -> Result<Tensor, ConvertError> {
        let error = |what: String| ConvertError::tensor(name, what);
        if state.dtype != Dtype::U8 || state.len() > MAX_STATE_BYTES {
            return Err(error(format!("has a quantization state of {} {}", state.len(), state.dtype.name())));
        }
        let state: Value = serde_json::from_slice(&state.bytes(0, state.len())?)
            .map_err(|e| error(format!("has a quantization state that cannot be read: {e}")))?;
        let size = |key: &str| state.get(key).and_then(Value::as_u64).map(|n| n as usize);
        let block_size = size("blocksize").filter(|n| BLOCK_SIZES.contains(n));
        let block_size = block_size.ok_or_else(|| error(format!("has blocks of an unknown size: {state}")))?;
        let shape = state.get("shape").and_then(Value::as_array);
        let shape: Option<Vec<usize>> = shape.and_then(|s| s.iter().map(|d| Some(d.as_u64()? as usize)).collect());
        let shape =
            shape.filter(|s| !s.is_empty()).ok_or_else(|| error(format!("has no shape in its state: {state}")))?;
        let num_weights = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).unwrap_or(usize::MAX);
        if codes.dtype != Dtype::U8 || codes.len() != num_weights.div_ceil(2) {
            return Err(error(format!("has {} codes for the shape {shape:?}", codes.len())));
        }
        let absmax = absmax(name, num_weights.div_ceil(block_size), &state, &parts)?;
        let values = match &parts.quant_map {
            Some(map) => map.floats()?.try_into().map_err(|_| error("has a map of other than 16 values".to_owned()))?,
            None => four_bit.values(),
        };
        let rounded_to = match state.get("dtype").and_then(Value::as_str) {
            Some("bfloat16") => Dtype::Bf16,
            Some("float16") => Dtype::F16,
            _ => Dtype::F32,
        };
        let num_cols = shape.last().copied().unwrap_or(1);
        Ok(Tensor::new(name, shape, Self { codes, values, block_size, absmax, num_cols, rounded_to }))
    }
}

/// The magnitude of each block.
fn absmax(name: &str, num_blocks: usize, state: &Value, parts: &Parts) -> Result<Vec<f32>, ConvertError> {
    let error = |what: &str| ConvertError::tensor(name, what);
    let stored = parts.absmax.as_ref().filter(|t| t.len() == num_blocks);
    let stored = stored.ok_or_else(|| error("has no magnitude for each of its blocks"))?;
    let (Some(nested_absmax), Some(map)) = (&parts.nested_absmax, &parts.nested_quant_map) else {
        return stored.floats();
    };
    let (nested_absmax, map) = (nested_absmax.floats()?, map.floats()?);
    let offset = state.get("nested_offset").and_then(Value::as_f64);
    let offset = offset.ok_or_else(|| error("has no `nested_offset` in its quantization state"))? as f32;
    let block = state.get("nested_blocksize").and_then(Value::as_u64).unwrap_or(NESTED_BLOCK as u64) as usize;
    if map.len() != 256 || block == 0 || nested_absmax.len() != num_blocks.div_ceil(block) || stored.dtype != Dtype::U8
    {
        return Err(error("has quantized magnitudes that do not fit its blocks"));
    }
    let codes = stored.bytes(0, num_blocks)?;
    let decoded = codes.iter().enumerate().map(|(i, code)| map[usize::from(*code)] * nested_absmax[i / block] + offset);
    Ok(decoded.collect())
}

impl Rows for FourBitTensor {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let first = first_row * self.num_cols;
        let first_byte = first / 2;
        let bytes = self.codes.bytes(first_byte, (first + out.len()).div_ceil(2) - first_byte)?;
        for (idx, x) in (first..).zip(out) {
            let byte = bytes[idx / 2 - first_byte];
            let code = if idx % 2 == 0 { byte >> 4 } else { byte & 15 };
            let value = self.values[usize::from(code)] * self.absmax[idx / self.block_size];
            *x = encode::rounded(self.rounded_to, value);
        }
        Ok(())
    }
}
