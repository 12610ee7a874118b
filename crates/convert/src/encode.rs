//! From floats to the bytes of a tensor type, refusing what no model may contain.

use gguf::GgmlType;
use quant::{Format, Isa, f16_to_f32, f32_to_f16};

use crate::safetensors::Dtype;

/// The type of the weights of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit blocks.
    Q8_0,
}

impl OutType {
    /// The tensor type.
    #[must_use]
    pub fn ggml_type(self) -> GgmlType {
        match self {
            Self::F32 => GgmlType::F32,
            Self::F16 => GgmlType::F16,
            Self::Bf16 => GgmlType::BF16,
            Self::Q8_0 => GgmlType::Q8_0,
        }
    }
}

/// Encodes rows of `num_cols` weights; says what is wrong with those that are not finite in the type.
pub(crate) fn encode(ggml_type: GgmlType, weights: &[f32], num_cols: usize) -> Result<Vec<u8>, String> {
    check_finite(weights)?;
    let (limit, hint) = match ggml_type {
        GgmlType::F32 | GgmlType::BF16 => (f32::INFINITY, ""),
        // The least float that rounds to infinity.
        GgmlType::F16 => (65_520.0, "; choose BF16 or F32"),
        // Scales are halves.
        _ => (65_520.0 * 127.0, "; choose BF16 or F32"),
    };
    if let Some(x) = weights.iter().find(|x| x.abs() >= limit) {
        return Err(format!("has the weight {x}, too large for {ggml_type}{hint}"));
    }
    let format = Format::of(ggml_type).map_err(|e| e.to_string())?;
    let (isa, num_cols) = (Isa::detect(), num_cols.max(1));
    let row_bytes = format.row_bytes(num_cols);
    let mut out = vec![0; weights.len() / num_cols * row_bytes];
    for (row, out) in weights.chunks_exact(num_cols).zip(out.chunks_exact_mut(row_bytes)) {
        format.encode_row(isa, row, None, out);
    }
    Ok(out)
}

fn check_finite(weights: &[f32]) -> Result<(), String> {
    // A sum of such products is NaN exactly when one of them is not finite; the compiler makes vector code of it.
    if weights.iter().map(|x| x * 0.0).sum::<f32>() == 0.0 {
        return Ok(());
    }
    match weights.iter().position(|x| !x.is_finite()) {
        Some(idx) => Err(format!("has the weight {}; the checkpoint is broken", weights[idx])),
        None => Ok(()),
    }
}

/// The nearest number of a 16-bit float type; others keep theirs.
pub(crate) fn rounded(dtype: Dtype, x: f32) -> f32 {
    match dtype {
        Dtype::F16 => f16_to_f32(f32_to_f16(x)),
        Dtype::Bf16 => f32::from_bits(u32::from(bf16(x)) << 16),
        _ => x,
    }
}

/// Rounds to the nearest bfloat16, ties to even.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::{GgmlType, encode};

    #[test]
    fn floats_are_rounded_to_even() {
        let bytes = |t, x: f32| encode(t, &[x], 1).expect("finite");
        assert_eq!(bytes(GgmlType::BF16, f32::from_bits(0x3f80_8000)), 0x3f80_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::BF16, f32::from_bits(0x3f81_8000)), 0x3f82_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::F16, 1.0), 0x3c00_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::F32, -0.5), (-0.5_f32).to_le_bytes());
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for ggml_type in [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0] {
                let error = encode(ggml_type, &[[0.0; 31].as_slice(), &[x]].concat(), 32).expect_err("not finite");
                assert!(error.contains(&x.to_string()), "{error}");
            }
        }
        assert!(encode(GgmlType::F16, &[65519.0], 1).is_ok());
        assert!(encode(GgmlType::F16, &[-65520.0], 1).expect_err("too large").contains("BF16"));
    }
}
