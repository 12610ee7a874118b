//! compressed-tensors' integers: `NAME_packed`, `[rows, words of columns]`, with a scale and an optional zero point for each
//! group of a row's columns. Codes are stored with half their range added, the first in a word's lowest bits.

use super::{FLOATS, Stored, check_part, names_before, take_part, words};
use crate::{
    ConvertError,
    safetensors::{Dtype, StoredTensor},
    tensor::{Rows, Tensor},
};

/// Takes packed weights with their parts.
pub(super) fn take(stored: &mut Stored, bits: u32) -> Result<Vec<Tensor>, ConvertError> {
    stored.retain(|name, _| ![".input_scale", ".k_scale", ".v_scale"].iter().any(|suffix| name.ends_with(suffix)));
    let names = names_before(stored, "_packed");
    names.iter().map(|name| Packed::open(stored, name, bits)).collect()
}

struct Packed {
    codes: StoredTensor,
    scales: StoredTensor,
    zeros: Option<StoredTensor>,
    bits: u32,
    num_cols: usize,
    num_groups: usize,
}

impl Packed {
    fn open(stored: &mut Stored, name: &str, bits: u32) -> Result<Tensor, ConvertError> {
        if stored.contains_key(&format!("{name}_g_idx")) {
            return Err(ConvertError::tensor(name, "has its columns in groups by `_g_idx`, which is not read"));
        }
        let codes = take_part(stored, name, "_packed")?;
        let scales = take_part(stored, name, "_scale")?;
        let (num_rows, num_cols) = shape(&take_part(stored, name, "_shape")?)?;
        let zeros = stored.remove(&format!("{name}_zero_point"));
        let per_word = 32 / bits as usize;
        check_part(&codes, &[Dtype::I32], &[num_rows, num_cols.div_ceil(per_word)])?;
        let num_groups = scales.shape.get(1).copied().unwrap_or(0);
        check_part(&scales, FLOATS, &[num_rows, num_groups])?;
        if num_groups == 0 || !num_cols.is_multiple_of(num_groups) {
            let what = format!("has {num_groups} groups in {num_cols} columns");
            return Err(ConvertError::tensor(&scales.name, what));
        }
        if let Some(zeros) = &zeros {
            check_part(zeros, &[Dtype::I32], &[num_rows.div_ceil(per_word), num_groups])?;
        }
        let packed = Self { codes, scales, zeros, bits, num_cols, num_groups };
        Ok(Tensor::new(name, vec![num_rows, num_cols], packed))
    }

    fn code(&self, word: u32, idx: usize) -> u32 {
        let per_word = 32 / self.bits as usize;
        word >> ((idx % per_word) as u32 * self.bits) & ((1 << self.bits) - 1)
    }

    /// What is taken from the codes of a row's groups.
    fn zeros(&self, row: usize) -> Result<Vec<i32>, ConvertError> {
        let Some(zeros) = &self.zeros else { return Ok(vec![1 << (self.bits - 1); self.num_groups]) };
        let first = row / (32 / self.bits as usize) * self.num_groups;
        Ok(words(zeros, first, self.num_groups)?.into_iter().map(|word| self.code(word, row) as i32).collect())
    }
}

/// The two sides that `NAME_shape` holds.
fn shape(part: &StoredTensor) -> Result<(usize, usize), ConvertError> {
    check_part(part, &[Dtype::I64, Dtype::I32], &[2])?;
    let bytes = part.bytes(0, 2)?;
    let sides: Vec<i64> = match part.dtype {
        Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        _ => bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
    };
    match sides.as_slice() {
        &[rows, cols] if (1..1 << 31).contains(&rows) && (1..1 << 31).contains(&cols) => {
            Ok((rows as usize, cols as usize))
        }
        _ => Err(ConvertError::tensor(&part.name, format!("is {sides:?}; expected two positive sides"))),
    }
}

impl Rows for Packed {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let words_of_row = self.codes.shape[1];
        let mut scales = vec![0.0; self.num_groups];
        for (row, out) in (first_row..).zip(out.chunks_exact_mut(self.num_cols)) {
            let codes = words(&self.codes, row * words_of_row, words_of_row)?;
            self.scales.read_floats(row * self.num_groups, &mut scales)?;
            let (zeros, size) = (self.zeros(row)?, self.num_cols / self.num_groups);
            for (col, x) in out.iter_mut().enumerate() {
                let code = self.code(codes[col / (32 / self.bits as usize)], col) as i32;
                *x = (code - zeros[col / size]) as f32 * scales[col / size];
            }
        }
        Ok(())
    }
}
