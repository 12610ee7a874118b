//! Quantizes weights to 4 bits.

use super::{BLOCK_SIZES, FourBit, NESTED_BLOCK, dynamic_map};
use crate::{
    ConvertError,
    safetensors::{Dtype, OutTensor},
};

/// A quantized tensor in the parts that a checkpoint holds.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// What the codes stand for.
    pub four_bit: FourBit,
    /// Weights that share a magnitude.
    pub block_size: usize,
    /// Two codes a byte.
    pub codes: Vec<u8>,
    /// The largest magnitude of each block, when they are not quantized.
    pub absmax: Vec<f32>,
    /// The magnitudes, when they are.
    pub nested: Option<Nested>,
}

/// Quantized magnitudes.
#[derive(Clone, Debug)]
pub struct Nested {
    /// A code for each block.
    pub codes: Vec<u8>,
    /// The largest magnitude of each 256 codes.
    pub absmax: Vec<f32>,
    /// The mean, which was taken off before.
    pub offset: f32,
}

impl Quantized {
    /// Quantizes weights; the last block may be shorter.
    ///
    /// # Errors
    /// [`ConvertError::Unsupported`] for a block size that bitsandbytes does not know.
    pub fn new(weights: &[f32], four_bit: FourBit, block_size: usize, nested: bool) -> Result<Self, ConvertError> {
        if !BLOCK_SIZES.contains(&block_size) {
            return Err(ConvertError::Unsupported(format!("4-bit blocks of {block_size}; known are {BLOCK_SIZES:?}")));
        }
        let absmax: Vec<f32> = weights.chunks(block_size).map(largest_magnitude).collect();
        let values = four_bit.rounded_values();
        let blocks = weights.chunks(block_size).zip(&absmax);
        let mut codes = blocks.flat_map(|(block, absmax)| scaled(block, *absmax).map(|x| nearest(&values, x)));
        let mut packed = Vec::with_capacity(weights.len().div_ceil(2));
        while let Some(first) = codes.next() {
            // A half byte that is left over holds the code of zero.
            packed.push(first << 4 | codes.next().unwrap_or_else(|| nearest(&values, 0.0)));
        }
        let nested = nested.then(|| Nested::new(&absmax));
        let absmax = if nested.is_some() { Vec::new() } else { absmax };
        Ok(Self { four_bit, block_size, codes: packed, absmax, nested })
    }

    /// The parts of this tensor as they stand in a checkpoint, under the names that belong to `name`; `shape` and
    /// `dtype` (`bfloat16`, `float16` or `float32`) are those of the original.
    #[must_use]
    pub fn parts(&self, name: &str, shape: &[usize], dtype: &str) -> Vec<(OutTensor, Vec<u8>)> {
        let part =
            |suffix: &str, dtype, shape, bytes| (OutTensor { name: format!("{name}{suffix}"), dtype, shape }, bytes);
        let floats = |suffix: &str, values: &[f32]| {
            part(suffix, Dtype::F32, vec![values.len()], values.iter().flat_map(|x| x.to_le_bytes()).collect())
        };
        let mut parts = vec![part("", Dtype::U8, vec![self.codes.len(), 1], self.codes.clone())];
        let mut state = serde_json::json!({
            "quant_type": self.four_bit.name(), "blocksize": self.block_size, "dtype": dtype, "shape": shape,
        });
        if let Some(Nested { codes, absmax, offset }) = &self.nested {
            parts.push(part(".absmax", Dtype::U8, vec![codes.len()], codes.clone()));
            parts.push(floats(".nested_absmax", absmax));
            parts.push(floats(".nested_quant_map", &dynamic_map::values()));
            state["nested_blocksize"] = NESTED_BLOCK.into();
            state["nested_dtype"] = "float32".into();
            state["nested_offset"] = f64::from(*offset).into();
        } else {
            parts.push(floats(".absmax", &self.absmax));
        }
        parts.push(floats(".quant_map", &self.four_bit.values()));
        let (state, suffix) = (state.to_string(), format!(".quant_state.bitsandbytes__{}", self.four_bit.name()));
        parts.push(part(&suffix, Dtype::U8, vec![state.len()], state.into_bytes()));
        parts
    }
}

impl Nested {
    fn new(magnitudes: &[f32]) -> Self {
        let offset = magnitudes.iter().map(|x| f64::from(*x)).sum::<f64>() / magnitudes.len().max(1) as f64;
        let offset = offset as f32;
        let values = dynamic_map::values();
        let (mut codes, mut absmax) = (Vec::with_capacity(magnitudes.len()), Vec::new());
        for block in magnitudes.chunks(NESTED_BLOCK) {
            let block: Vec<f32> = block.iter().map(|x| x - offset).collect();
            let largest = largest_magnitude(&block);
            codes.extend(scaled(&block, largest).map(|x| nearest_sorted(&values, x)));
            absmax.push(largest);
        }
        Self { codes, absmax, offset }
    }
}

fn largest_magnitude(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |m, x| m.max(x.abs()))
}

fn scaled(block: &[f32], largest: f32) -> impl Iterator<Item = f32> {
    let inverse = 1.0 / largest.max(1e-38);
    block.iter().map(move |x| (x * inverse).clamp(-1.0, 1.0))
}

/// The code of the nearest value, the first of several.
fn nearest(values: &[f32; 16], x: f32) -> u8 {
    let mut best = (0, f32::INFINITY);
    for (code, value) in (0..).zip(values) {
        let distance = (x - value).abs();
        if distance < best.1 {
            best = (code, distance);
        }
    }
    best.0
}

/// The same among ascending values.
fn nearest_sorted(values: &[f32; 256], x: f32) -> u8 {
    let above = values.partition_point(|v| *v < x).min(255);
    let below = above.saturating_sub(1);
    (if (x - values[below]).abs() <= (values[above] - x).abs() { below } else { above }) as u8
}
