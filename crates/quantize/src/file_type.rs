//! The mixes of types that a whole file can have, as llama.cpp names and numbers them.

use std::str::FromStr;

use gguf::GgmlType;

use crate::QuantizeError;

macro_rules! file_types {
    ($($variant:ident = $id:literal, $base:ident, $about:literal;)*) => {
        /// What a file is quantized to: a base type, and for the `_S`, `_M`, `_L`, `IQ` and `MOE` mixes other types for the
        /// tensors that matter more.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the names that people use")]
        pub enum FileType {
            $(#[doc = $about] $variant,)*
        }

        impl FileType {
            /// Every file type, in the order of numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// `general.file_type` of such a file.
            #[must_use]
            pub fn id(self) -> u32 {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// Its name, e.g. `Q4_K_M`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// One line about it.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }

            /// The type that most tensors get.
            #[must_use]
            pub fn base(self) -> GgmlType {
                match self {
                    $(Self::$variant => GgmlType::$base,)*
                }
            }
        }
    };
}

file_types! {
    F32 = 0, F32, "32-bit floats";
    F16 = 1, F16, "16-bit floats";
    Q4_0 = 2, Q4_0, "4 bits, simple and fast";
    Q4_1 = 3, Q4_1, "4 bits with minimums";
    Q8_0 = 7, Q8_0, "8 bits: nothing is lost that could be noticed";
    Q5_0 = 8, Q5_0, "5 bits, simple";
    Q5_1 = 9, Q5_1, "5 bits with minimums";
    Q2_K = 10, Q2_K, "2 bits, 3 for outputs of blocks, 4 for values";
    Q3_K_S = 11, Q3_K, "3 bits";
    Q3_K_M = 12, Q3_K, "3 bits, 4 and 5 for values and outputs of blocks";
    Q3_K_L = 13, Q3_K, "3 bits, 5 for values and outputs of blocks";
    Q4_K_S = 14, Q4_K, "4 bits, 5 for some values and outputs of first layers";
    Q4_K_M = 15, Q4_K, "4 bits, 6 for half of the values and outputs: the usual choice";
    Q5_K_S = 16, Q5_K, "5 bits";
    Q5_K_M = 17, Q5_K, "5 bits, 6 for half of the values and outputs";
    Q6_K = 18, Q6_K, "6 bits: next to nothing is lost";
    IQ2_XXS = 19, IQ2_XXS, "2.06 bits; needs an importance matrix";
    IQ2_XS = 20, IQ2_XS, "2.31 bits; needs an importance matrix";
    Q2_K_S = 21, Q2_K, "2 bits, 4 for the first layers' outputs; needs an importance matrix";
    IQ3_XS = 22, IQ3_S, "3.3 bits";
    IQ3_XXS = 23, IQ3_XXS, "3.06 bits; better with an importance matrix";
    IQ1_S = 24, IQ1_S, "1.56 bits; needs an importance matrix";
    IQ4_NL = 25, IQ4_NL, "4.5 bits through a table";
    IQ3_S = 26, IQ3_S, "3.44 bits";
    IQ3_M = 27, IQ3_S, "3.66 bits";
    IQ2_S = 28, IQ2_XS, "2.5 bits; needs an importance matrix";
    IQ2_M = 29, IQ2_S, "2.7 bits; needs an importance matrix";
    IQ4_XS = 30, IQ4_XS, "4.25 bits through a table";
    IQ1_M = 31, IQ1_M, "1.75 bits; needs an importance matrix";
    BF16 = 32, BF16, "16-bit floats with the range of 32-bit ones";
    TQ1_0 = 36, TQ1_0, "1.69 bits, for models with ternary weights";
    TQ2_0 = 37, TQ2_0, "2.06 bits, for models with ternary weights";
    MXFP4_MOE = 38, MXFP4, "4-bit floats for experts, 8 bits for the rest";
    NVFP4 = 39, NVFP4, "4-bit floats with a scale for each 16";
    Q1_0 = 40, Q1_0, "1.13 bits, for models with binary weights";
    Q2_0 = 41, Q2_0, "2.25 bits, for models with ternary weights";
}

impl FileType {
    /// The file type with this `general.file_type`.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.id() == id)
    }

    /// All names, for errors and help.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for FileType {
    type Err = QuantizeError;

    /// A name in capitals or not, or a number; `Q3_K`, `Q4_K` and `Q5_K` are their `_M`.
    fn from_str(text: &str) -> Result<Self, QuantizeError> {
        let upper = text.to_ascii_uppercase();
        let whole = match upper.as_str() {
            "Q3_K" | "Q4_K" | "Q5_K" => format!("{upper}_M"),
            _ => upper,
        };
        let by_name = Self::ALL.iter().copied().find(|t| t.name() == whole);
        let found = by_name.or_else(|| Self::from_id(whole.parse().ok()?));
        found.ok_or_else(|| QuantizeError::FileType { found: text.to_owned() })
    }
}

impl std::fmt::Display for FileType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::FileType;

    #[test]
    fn names_numbers_and_short_forms_are_understood() {
        for file_type in FileType::ALL {
            assert_eq!(file_type.name().to_lowercase().parse::<FileType>().ok(), Some(*file_type));
            assert_eq!(file_type.id().to_string().parse::<FileType>().ok(), Some(*file_type));
        }
        assert_eq!("q4_k".parse::<FileType>().ok(), Some(FileType::Q4_K_M));
        let error = "Q9".parse::<FileType>().expect_err("no such type").to_string();
        assert!(error.contains("`Q9`") && error.contains("IQ3_XXS"), "{error}");
    }
}
