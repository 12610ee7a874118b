//! 8-bit floats and integers with scales: `NAME` and `NAME_scale_inv` or `NAME_scale`. A scale is for a whole matrix, for a
//! row, or for a block of rows and columns; those at the ends may be smaller. bitsandbytes' integers have the largest
//! magnitude of each row instead, `SCB`.

use super::{FLOATS, Stored};
use crate::{
    ConvertError,
    safetensors::{Dtype, StoredTensor},
    tensor::{Rows, Tensor},
};

/// What follows a weight's name where its scales are; both multiply.
const SCALES: &[&str] = &["_scale_inv", "_scale"];
/// What stands in place of `weight` where bitsandbytes' magnitudes are, and what they are multiplied by: a 127th as it
/// writes it.
const MAGNITUDES: (&str, f32) = ("SCB", 0.007_874_016);
/// Scales of what flows between layers, which is not quantized here, and marks of how weights lie.
const UNUSED: &[&str] =
    &["activation_scale", ".input_scale", ".k_scale", ".v_scale", ".output_scale", ".weight_format"];

/// Takes weights with their scales.
pub(super) fn take(stored: &mut Stored, block: Option<[usize; 2]>) -> Result<Vec<Tensor>, ConvertError> {
    stored.retain(|name, _| !UNUSED.iter().any(|suffix| name.ends_with(suffix)));
    let is_small = |t: &StoredTensor| matches!(t.dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::I8);
    let names: Vec<String> = stored.values().filter(|t| is_small(t)).map(|t| t.name.clone()).collect();
    let mut tensors = Vec::new();
    for name in names {
        let scale = SCALES.iter().find_map(|suffix| stored.remove(&format!("{name}{suffix}")));
        let mut magnitudes = || stored.remove(&format!("{}{}", name.strip_suffix("weight")?, MAGNITUDES.0));
        let scale = scale.map(|s| (s, 1.0)).or_else(|| Some((magnitudes()?, MAGNITUDES.1)));
        let (Some(weight), Some(scale)) = (stored.remove(&name), scale) else {
            return Err(ConvertError::tensor(&name, "is quantized, but has no scale in any of the checkpoint's files"));
        };
        tensors.push(Scaled::open(weight, scale, block)?);
    }
    Ok(tensors)
}

struct Scaled {
    weight: StoredTensor,
    scales: Vec<f32>,
    /// Multiplies all weights after their scales.
    factor: f32,
    /// Rows of a matrix, of which the tensor has several if it is of three dimensions.
    num_rows: usize,
    num_cols: usize,
    block: [usize; 2],
    /// Of a matrix.
    scale_rows: usize,
    scale_cols: usize,
}

impl Scaled {
    fn open(
        weight: StoredTensor,
        (scale, factor): (StoredTensor, f32),
        block: Option<[usize; 2]>,
    ) -> Result<Tensor, ConvertError> {
        let misfit = || {
            let StoredTensor { shape, .. } = &weight;
            let what = format!("of shape {:?} does not fit weights of shape {shape:?}", scale.shape);
            ConvertError::tensor(&scale.name, what)
        };
        let (&[ref leading @ .., num_rows, num_cols], true, false) =
            (weight.shape.as_slice(), FLOATS.contains(&scale.dtype), weight.is_empty())
        else {
            return Err(misfit());
        };
        let num_matrices: usize = leading.iter().product();
        let (scale_rows, scale_cols) = match scale.shape.as_slice() {
            // One for all, or one for each row of a matrix.
            [] | [1] => (1, 1),
            [n] if leading.is_empty() && *n == num_rows => (*n, 1),
            [outer @ .., rows, cols] if outer == leading => (*rows, *cols),
            _ => return Err(misfit()),
        };
        let [block_rows, block_cols] = block.map_or([None, None], |sides| sides.map(Some));
        let sides = (side(num_rows, scale_rows, block_rows), side(num_cols, scale_cols, block_cols));
        let (Some(rows), Some(cols)) = sides else { return Err(misfit()) };
        let mut scales = scale.floats()?;
        if scales.len() == 1 {
            // The same for all matrices.
            scales = vec![scales[0]; num_matrices];
        }
        let (name, shape) = (weight.name.clone(), weight.shape.clone());
        let scaled = Self { weight, scales, factor, num_rows, num_cols, block: [rows, cols], scale_rows, scale_cols };
        Ok(Tensor::new(&name, shape, scaled))
    }
}

/// How many of `size` weights share one of `num` scales: all, one, those of a block, or without blocks equal parts.
fn side(size: usize, num: usize, block: Option<usize>) -> Option<usize> {
    let side = match num {
        1 => size,
        _ if num == size => 1,
        _ => block.or_else(|| size.checked_div(num))?,
    };
    let side = side.max(1);
    (size.div_ceil(side) == num).then_some(side)
}

impl Rows for Scaled {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let Self { weight, num_rows, num_cols, block, scale_rows, scale_cols, .. } = self;
        if weight.dtype == Dtype::I8 {
            let bytes = weight.bytes(first_row * num_cols, out.len())?;
            out.iter_mut().zip(bytes).for_each(|(x, byte)| *x = f32::from(byte as i8));
        } else {
            weight.read_floats(first_row * num_cols, out)?;
        }
        for (row, out) in (first_row..).zip(out.chunks_exact_mut((*num_cols).max(1))) {
            let (matrix, row) = (row / num_rows, row % num_rows);
            let scales = &self.scales[(matrix * scale_rows + row / block[0]) * scale_cols..][..*scale_cols];
            for (out, scale) in out.chunks_mut(block[1]).zip(scales) {
                out.iter_mut().for_each(|x| *x *= scale);
            }
            if self.factor != 1.0 {
                out.iter_mut().for_each(|x| *x *= self.factor);
            }
        }
        Ok(())
    }
}
