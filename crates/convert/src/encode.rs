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

/// Encodes rows of `num_cols` weights behind `out`; says which weight is not finite in the type, and what is wrong with it.
pub(crate) fn encode(
    ggml_type: GgmlType,
    weights: &[f32],
    num_cols: usize,
    out: &mut Vec<u8>,
) -> Result<(), (usize, String)> {
    check_finite(ggml_type, weights)?;
    let format = Format::of(ggml_type).map_err(|e| (0, e.to_string()))?;
    let (isa, num_cols) = (Isa::detect(), num_cols.max(1));
    let (row_bytes, start) = (format.row_bytes(num_cols), out.len());
    out.resize(start + weights.len() / num_cols * row_bytes, 0);
    for (row, out) in weights.chunks_exact(num_cols).zip(out[start..].chunks_exact_mut(row_bytes)) {
        format.encode_row(isa, row, None, out);
    }
    Ok(())
}

fn check_finite(ggml_type: GgmlType, weights: &[f32]) -> Result<(), (usize, String)> {
    let limit = match ggml_type {
        GgmlType::F32 | GgmlType::BF16 => f32::INFINITY,
        // The least float that rounds to infinity.
        GgmlType::F16 => 65_520.0,
        // Scales are halves.
        _ => 65_520.0 * 127.0,
    };
    // Magnitudes are ordered as their bits are, NaN above infinity; the compiler makes vector code of it.
    let largest = weights.iter().fold(0, |m: u32, x| m.max(x.to_bits() & i32::MAX as u32));
    if largest < limit.to_bits() {
        return Ok(());
    }
    let idx = weights.iter().position(|x| !x.is_finite() || x.abs() >= limit).unwrap_or(0);
    let x = weights[idx];
    Err(if x.is_finite() {
        (idx, format!("has the weight {x}, too large for {ggml_type}; choose BF16 or F32"))
    } else {
        (idx, format!("has the weight {x}; the checkpoint is broken"))
    })
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
    use super::GgmlType;

    fn encode(ggml_type: GgmlType, weights: &[f32], num_cols: usize) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        super::encode(ggml_type, weights, num_cols, &mut out).map(|()| out).map_err(|(_, what)| what)
    }

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
