//! The tensor types of GGUF: ids, names and block geometry.
//!
//! Ids and sizes are those of the GGUF specification (ggml's `enum ggml_type`).

macro_rules! ggml_types {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal, $len:literal, $bytes:literal;)*) => {
        /// A tensor type. `block_len` weights are stored together in `block_bytes` bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the format's own names")]
        pub enum GgmlType {
            $($(#[$doc])* $variant,)*
        }

        impl GgmlType {
            /// Every type, in the order of ids.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The type with this GGUF id, if there is one.
            #[must_use]
            pub fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The GGUF id.
            #[must_use]
            pub fn id(self) -> u32 {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// The name people use, e.g. `Q4_K`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Weights in one block.
            #[must_use]
            pub fn block_len(self) -> usize {
                match self {
                    $(Self::$variant => $len,)*
                }
            }

            /// Bytes of one block.
            #[must_use]
            pub fn block_bytes(self) -> usize {
                match self {
                    $(Self::$variant => $bytes,)*
                }
            }
        }
    };
}

ggml_types! {
    /// IEEE single precision.
    F32 = 0, "F32", 1, 4;
    /// IEEE half precision.
    F16 = 1, "F16", 1, 2;
    /// 4 bits, one f16 scale per 32.
    Q4_0 = 2, "Q4_0", 32, 18;
    /// 4 bits, f16 scale and minimum per 32.
    Q4_1 = 3, "Q4_1", 32, 20;
    /// 5 bits, one f16 scale per 32.
    Q5_0 = 6, "Q5_0", 32, 22;
    /// 5 bits, f16 scale and minimum per 32.
    Q5_1 = 7, "Q5_1", 32, 24;
    /// 8 bits, one f16 scale per 32.
    Q8_0 = 8, "Q8_0", 32, 34;
    /// 8 bits, f16 scale and sum per 32 (activations).
    Q8_1 = 9, "Q8_1", 32, 36;
    /// 2 bits, 4-bit scales and minimums per 16.
    Q2_K = 10, "Q2_K", 256, 84;
    /// 3 bits, 6-bit scales per 16.
    Q3_K = 11, "Q3_K", 256, 110;
    /// 4 bits, 6-bit scales and minimums per 32.
    Q4_K = 12, "Q4_K", 256, 144;
    /// 5 bits, 6-bit scales and minimums per 32.
    Q5_K = 13, "Q5_K", 256, 176;
    /// 6 bits, 8-bit scales per 16.
    Q6_K = 14, "Q6_K", 256, 210;
    /// 8 bits, one f32 scale per 256 (activations).
    Q8_K = 15, "Q8_K", 256, 292;
    /// 2.06 bits, grid of 8.
    IQ2_XXS = 16, "IQ2_XXS", 256, 66;
    /// 2.31 bits, grid of 8.
    IQ2_XS = 17, "IQ2_XS", 256, 74;
    /// 3.06 bits, grid of 4.
    IQ3_XXS = 18, "IQ3_XXS", 256, 98;
    /// 1.56 bits, grid of 8.
    IQ1_S = 19, "IQ1_S", 256, 50;
    /// 4 bits through a table, one f16 scale per 32.
    IQ4_NL = 20, "IQ4_NL", 32, 18;
    /// 3.44 bits, grid of 4.
    IQ3_S = 21, "IQ3_S", 256, 110;
    /// 2.56 bits, grid of 8.
    IQ2_S = 22, "IQ2_S", 256, 82;
    /// 4.25 bits through a table.
    IQ4_XS = 23, "IQ4_XS", 256, 136;
    /// Signed byte.
    I8 = 24, "I8", 1, 1;
    /// Signed 16-bit integer.
    I16 = 25, "I16", 1, 2;
    /// Signed 32-bit integer.
    I32 = 26, "I32", 1, 4;
    /// Signed 64-bit integer.
    I64 = 27, "I64", 1, 8;
    /// IEEE double precision.
    F64 = 28, "F64", 1, 8;
    /// 1.75 bits, grid of 8.
    IQ1_M = 29, "IQ1_M", 256, 56;
    /// bfloat16.
    BF16 = 30, "BF16", 1, 2;
    /// Ternary, 1.69 bits.
    TQ1_0 = 34, "TQ1_0", 256, 54;
    /// Ternary, 2.06 bits.
    TQ2_0 = 35, "TQ2_0", 256, 66;
    /// 4-bit floats (E2M1), one E8M0 scale per 32.
    MXFP4 = 39, "MXFP4", 32, 17;
    /// 4-bit floats (E2M1), one UE4M3 scale per 16.
    NVFP4 = 40, "NVFP4", 64, 36;
    /// Signs alone, one f16 scale per 128.
    Q1_0 = 41, "Q1_0", 128, 18;
    /// 2 bits, one f16 scale per 64.
    Q2_0 = 42, "Q2_0", 64, 18;
}

impl GgmlType {
    /// Bytes of a row of `num_weights`, or `None` when blocks do not divide it or the size overflows.
    #[must_use]
    pub fn row_bytes(self, num_weights: u64) -> Option<u64> {
        let len = self.block_len() as u64;
        if !num_weights.is_multiple_of(len) {
            return None;
        }
        (num_weights / len).checked_mul(self.block_bytes() as u64)
    }
}

impl std::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::GgmlType;

    #[test]
    fn ids_round_trip_and_are_unique() {
        for (i, t) in GgmlType::ALL.iter().enumerate() {
            assert_eq!(GgmlType::from_id(t.id()), Some(*t));
            assert!(GgmlType::ALL[..i].iter().all(|u| u.id() < t.id()), "{t}");
        }
        assert_eq!(GgmlType::from_id(4), None);
    }

    #[test]
    fn row_bytes_refuses_rows_that_blocks_do_not_divide() {
        assert_eq!(GgmlType::Q4_K.row_bytes(512), Some(288));
        assert_eq!(GgmlType::Q4_K.row_bytes(511), None);
        assert_eq!(GgmlType::F64.row_bytes(u64::MAX), None);
    }
}
