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
        check_block_size(block_size)?;
        let absmax = magnitudes(weights, block_size);
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
    pub fn into_parts(self, name: &str, shape: &[usize], dtype: &str) -> Vec<(OutTensor, Vec<u8>)> {
        let Self { four_bit, block_size, codes, absmax, nested } = self;
        let offset = nested.as_ref().map(|nested| nested.offset);
        let outline = Outline { name, shape, dtype, four_bit, block_size, offset };
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let mut data = vec![codes];
        match nested {
            Some(Nested { codes, absmax, .. }) => data.extend([codes, floats(&absmax), floats(&dynamic_map::values())]),
            None => data.push(floats(&absmax)),
        }
        data.extend([floats(&four_bit.values()), outline.state()]);
        outline.tensors().into_iter().zip(data).collect()
    }
}

/// A quantized tensor without its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    pub(super) dtype: &'a str,
    pub(super) four_bit: FourBit,
    pub(super) block_size: usize,
    /// The mean of the magnitudes, where these are quantized.
    pub(super) offset: Option<f32>,
}

impl Outline<'_> {
    /// Its parts.
    pub(super) fn tensors(&self) -> Vec<OutTensor> {
        let num_weights: usize = self.shape.iter().product();
        let num_blocks = num_weights.div_ceil(self.block_size);
        let part = |suffix: &str, dtype, shape| OutTensor { name: format!("{}{suffix}", self.name), dtype, shape };
        let mut parts = vec![part("", Dtype::U8, vec![num_weights.div_ceil(2), 1])];
        if self.offset.is_some() {
            parts.push(part(".absmax", Dtype::U8, vec![num_blocks]));
            parts.push(part(".nested_absmax", Dtype::F32, vec![num_blocks.div_ceil(NESTED_BLOCK)]));
            parts.push(part(".nested_quant_map", Dtype::F32, vec![dynamic_map::values().len()]));
        } else {
            parts.push(part(".absmax", Dtype::F32, vec![num_blocks]));
        }
        parts.push(part(".quant_map", Dtype::F32, vec![self.four_bit.values().len()]));
        let suffix = format!(".quant_state.bitsandbytes__{}", self.four_bit.name());
        parts.push(part(&suffix, Dtype::U8, vec![self.state().len()]));
        parts
    }

    /// What bitsandbytes asks beside: JSON.
    fn state(&self) -> Vec<u8> {
        let mut state = serde_json::json!({
            "quant_type": self.four_bit.name(), "blocksize": self.block_size, "dtype": self.dtype, "shape": self.shape,
        });
        if let Some(offset) = self.offset {
            state["nested_blocksize"] = NESTED_BLOCK.into();
            state["nested_dtype"] = "float32".into();
            state["nested_offset"] = f64::from(offset).into();
        }
        state.to_string().into_bytes()
    }
}

pub(super) fn check_block_size(block_size: usize) -> Result<(), ConvertError> {
    if BLOCK_SIZES.contains(&block_size) {
        return Ok(());
    }
    Err(ConvertError::Unsupported(format!("4-bit blocks of {block_size}; known are {BLOCK_SIZES:?}")))
}

/// The largest magnitude of each block.
pub(super) fn magnitudes(weights: &[f32], block_size: usize) -> Vec<f32> {
    weights.chunks(block_size).map(largest_magnitude).collect()
}

/// What is taken off magnitudes before they are quantized: their mean.
pub(super) fn offset(magnitudes: &[f32]) -> f32 {
    (magnitudes.iter().map(|x| f64::from(*x)).sum::<f64>() / magnitudes.len().max(1) as f64) as f32
}

impl Nested {
    fn new(magnitudes: &[f32]) -> Self {
        let offset = offset(magnitudes);
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
