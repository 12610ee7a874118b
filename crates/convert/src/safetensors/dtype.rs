//! The element types of safetensors.

use quant::f16_to_f32;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $num_bytes:literal;)*) => {
        /// An element type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(non_camel_case_types, reason = "the format's own names")]
        pub enum Dtype {
            $($(#[$doc])* $variant,)*
        }

        impl Dtype {
            /// The type of this name in a header.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in the header.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Bytes of an element.
            #[must_use]
            pub fn num_bytes(self) -> usize {
                match self {
                    $(Self::$variant => $num_bytes,)*
                }
            }
        }
    };
}

dtypes! {
    /// A byte, 0 or 1.
    Bool = "BOOL", 1;
    /// Unsigned byte.
    U8 = "U8", 1;
    /// Signed byte.
    I8 = "I8", 1;
    /// 8-bit float with 4 bits of exponent.
    F8_E4M3 = "F8_E4M3", 1;
    /// 8-bit float with 5 bits of exponent.
    F8_E5M2 = "F8_E5M2", 1;
    /// 8 bits of exponent and nothing else: a power of two.
    F8_E8M0 = "F8_E8M0", 1;
    /// Signed 16-bit integer.
    I16 = "I16", 2;
    /// Unsigned 16-bit integer.
    U16 = "U16", 2;
    /// IEEE half precision.
    F16 = "F16", 2;
    /// bfloat16.
    Bf16 = "BF16", 2;
    /// Signed 32-bit integer.
    I32 = "I32", 4;
    /// Unsigned 32-bit integer.
    U32 = "U32", 4;
    /// IEEE single precision.
    F32 = "F32", 4;
    /// Signed 64-bit integer.
    I64 = "I64", 8;
    /// Unsigned 64-bit integer.
    U64 = "U64", 8;
    /// IEEE double precision.
    F64 = "F64", 8;
}

impl Dtype {
    /// Widens floats (or narrows doubles).
    pub(super) fn decode(self, bytes: &[u8], out: &mut [f32]) -> Result<(), String> {
        match self {
            Self::F32 => each(bytes, out, f32::from_le_bytes),
            Self::F16 => each(bytes, out, |b| f16_to_f32(u16::from_le_bytes(b))),
            Self::Bf16 => each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Self::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
            Self::F8_E4M3 => each(bytes, out, |[b]| E4M3[usize::from(b)]),
            Self::F8_E8M0 => each(bytes, out, |[b]| power_of_two(b)),
            // The upper half of a half.
            Self::F8_E5M2 => each(bytes, out, |[b]| f16_to_f32(u16::from(b) << 8)),
            _ => return Err(format!("has the element type {}; weights are floats", self.name())),
        }
        Ok(())
    }
}

/// 2 to the power of a byte less 127; the largest byte is NaN.
fn power_of_two(byte: u8) -> f32 {
    match byte {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        exponent => f32::from_bits(u32::from(exponent) << 23),
    }
}

/// The values of the 8-bit floats of 4 bits of exponent: no infinities, one NaN of each sign.
static E4M3: [f32; 256] = {
    let (mut values, mut code) = ([0.0; 256], 0);
    while code < 256 {
        let (exponent, mantissa) = (code as u32 >> 3 & 15, code as u32 & 7);
        let magnitude = if exponent == 0 {
            mantissa as f32 / 512.0
        } else if code & 127 == 127 {
            f32::NAN
        } else {
            f32::from_bits((exponent + 120) << 23 | mantissa << 20)
        };
        values[code] = if code < 128 { magnitude } else { -magnitude };
        code += 1;
    }
    values
};

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    for (x, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *x = convert(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Dtype;

    #[test]
    fn small_floats_have_their_values() {
        let decode = |dtype: Dtype, byte| {
            let mut out = [0.0];
            dtype.decode(&[byte], &mut out).map(|()| out[0])
        };
        let cases = [(0x00, 0.0), (0x01, 1.0 / 512.0), (0x08, 1.0 / 64.0), (0x38, 1.0), (0x7e, 448.0), (0xb9, -1.125)];
        for (byte, value) in cases {
            assert_eq!(decode(Dtype::F8_E4M3, byte), Ok(value), "{byte:#x}");
        }
        assert!(decode(Dtype::F8_E4M3, 0xff).is_ok_and(f32::is_nan));
        assert_eq!(decode(Dtype::F8_E5M2, 0x7b), Ok(57344.0));
        assert_eq!(decode(Dtype::F8_E5M2, 0xbd), Ok(-1.25));
        assert_eq!((decode(Dtype::F8_E8M0, 127), decode(Dtype::F8_E8M0, 0)), (Ok(1.0), Ok(2.0_f32.powi(-127))));
        assert!(decode(Dtype::I32, 0).is_err());
    }
}
