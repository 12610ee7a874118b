//! The types that metadata values have in a file.

use crate::{Array, GgufError, Value};

macro_rules! value_types {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $min_bytes:literal;)*) => {
        /// How a metadata value, or each element of an array, is stored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ValueType {
            $($(#[$doc])* $variant,)*
        }

        impl ValueType {
            pub(crate) fn from_id(id: u32, field: &str) -> Result<Self, GgufError> {
                match id {
                    $($id => Ok(Self::$variant),)*
                    _ => Err(GgufError::invalid(field, format!("of value type {id}"), "a value type from 0 to 12")),
                }
            }

            pub(crate) fn id(self) -> u32 {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// The bytes of a number, the least bytes of anything else.
            pub(crate) fn min_bytes(self) -> u64 {
                match self {
                    $(Self::$variant => $min_bytes,)*
                }
            }
        }
    };
}

value_types! {
    /// `uint8`.
    U8 = 0, 1;
    /// `int8`.
    I8 = 1, 1;
    /// `uint16`.
    U16 = 2, 2;
    /// `int16`.
    I16 = 3, 2;
    /// `uint32`.
    U32 = 4, 4;
    /// `int32`.
    I32 = 5, 4;
    /// `float32`.
    F32 = 6, 4;
    /// A byte, 0 or 1.
    Bool = 7, 1;
    /// A length and UTF-8.
    String = 8, 8;
    /// An element type, a length and the elements.
    Array = 9, 12;
    /// `uint64`.
    U64 = 10, 8;
    /// `int64`.
    I64 = 11, 8;
    /// `float64`.
    F64 = 12, 8;
}

impl ValueType {
    /// The type that other programs expect of a value: 32 bits for numbers unless that would lose something. Of an array,
    /// the type of its elements.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Uint(n) => Self::of_uints(&[*n]),
            Value::Int(n) => Self::of_ints(&[*n]),
            Value::Float(x) => Self::of_floats(&[*x]),
            Value::Bool(_) => Self::Bool,
            Value::String(_) => Self::String,
            Value::Array(array) => Self::of_elements(array),
        }
    }

    /// The same for the elements of an array.
    pub(crate) fn of_elements(array: &Array) -> Self {
        match array {
            Array::Uint(v) => Self::of_uints(v),
            Array::Int(v) => Self::of_ints(v),
            Array::Float(v) => Self::of_floats(v),
            Array::Bool(_) => Self::Bool,
            Array::String(_) => Self::String,
            Array::Array(_) => Self::Array,
        }
    }

    /// Whether numbers of this type can stand for `value` (the elements of an array) without loss.
    pub(crate) fn fits(self, value: &Value) -> bool {
        let bits = 8 * self.min_bytes() as u32;
        let uint = |n: &u64| n.checked_shr(bits).unwrap_or(0) == 0;
        let int = |n: &i64| n >> (bits - 1) == n >> 63;
        let float = |x: &f64| self == Self::F64 || fits_f32(*x);
        match value {
            Value::Uint(n) => self.is_uint() && uint(n),
            Value::Int(n) => self.is_int() && int(n),
            Value::Float(x) => self.is_float() && float(x),
            Value::Array(Array::Uint(v)) => self.is_uint() && v.iter().all(uint),
            Value::Array(Array::Int(v)) => self.is_int() && v.iter().all(int),
            Value::Array(Array::Float(v)) => self.is_float() && v.iter().all(float),
            other => self == Self::of(other),
        }
    }

    pub(crate) fn is_uint(self) -> bool {
        matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::U64)
    }

    pub(crate) fn is_int(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    fn of_uints(numbers: &[u64]) -> Self {
        if numbers.iter().all(|n| u32::try_from(*n).is_ok()) { Self::U32 } else { Self::U64 }
    }

    fn of_ints(numbers: &[i64]) -> Self {
        if numbers.iter().all(|n| i32::try_from(*n).is_ok()) { Self::I32 } else { Self::I64 }
    }

    fn of_floats(numbers: &[f64]) -> Self {
        if numbers.iter().all(|x| fits_f32(*x)) { Self::F32 } else { Self::F64 }
    }
}

fn fits_f32(x: f64) -> bool {
    x.is_nan() || f64::from(x as f32) == x
}
