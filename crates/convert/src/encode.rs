//! From floats to the bytes of a tensor type, refusing what no model may contain.

use gguf::GgmlType;
use quant::{f16_to_f32, f32_to_f16};

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

/// Encodes weights of whole blocks; says what is wrong with those that are not finite in the type.
pub(crate) fn encode(ggml_type: GgmlType, weights: &[f32]) -> Result<Vec<u8>, String> {
    check_finite(weights)?;
    match ggml_type {
        GgmlType::F32 => Ok(each(weights, f32::to_le_bytes)),
        GgmlType::F16 => {
            // The least float that rounds to infinity.
            if let Some(x) = weights.iter().find(|x| x.abs() >= 65520.0) {
                return Err(format!("has the weight {x}, too large for F16; choose BF16 or F32"));
            }
            Ok(each(weights, |x| f32_to_f16(x).to_le_bytes()))
        }
        GgmlType::BF16 => Ok(each(weights, |x| bf16(x).to_le_bytes())),
        GgmlType::Q8_0 => q8_0(weights),
        _ => Err(format!("cannot be written as {ggml_type}")),
    }
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

fn each<const N: usize>(weights: &[f32], convert: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    let mut out = vec![0; weights.len() * N];
    for (bytes, x) in out.as_chunks_mut().0.iter_mut().zip(weights) {
        *bytes = convert(*x);
    }
    out
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

/// Blocks of 32: the largest magnitude becomes 127, halves round away from zero.
fn q8_0(weights: &[f32]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(weights.len() / 32 * 34);
    for block in weights.as_chunks::<32>().0 {
        let largest = block.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let scale = largest / 127.0;
        if scale >= 65520.0 {
            return Err(format!("has the weight {largest}, too large for Q8_0; choose BF16 or F32"));
        }
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        out.extend(f32_to_f16(scale).to_le_bytes());
        out.extend(block.map(|x| (x * inverse).round() as i8 as u8));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{GgmlType, encode};

    #[test]
    fn floats_are_rounded_to_even() {
        let bytes = |t, x: f32| encode(t, &[x]).expect("finite");
        assert_eq!(bytes(GgmlType::BF16, f32::from_bits(0x3f80_8000)), 0x3f80_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::BF16, f32::from_bits(0x3f81_8000)), 0x3f82_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::F16, 1.0), 0x3c00_u16.to_le_bytes());
        assert_eq!(bytes(GgmlType::F32, -0.5), (-0.5_f32).to_le_bytes());
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for ggml_type in [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0] {
                let error = encode(ggml_type, &[[0.0; 31].as_slice(), &[x]].concat()).expect_err("not finite");
                assert!(error.contains(&x.to_string()), "{error}");
            }
        }
        assert!(encode(GgmlType::F16, &[65519.0]).is_ok());
        assert!(encode(GgmlType::F16, &[-65520.0]).expect_err("too large").contains("BF16"));
    }
}
