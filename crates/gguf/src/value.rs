//! Metadata values.

use crate::{GgufError, cursor::Cursor};

/// Arrays of arrays may nest this deep.
const MAX_DEPTH: usize = 4;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Uint(u64),
    /// Any signed integer type.
    Int(i64),
    /// `float32` or `float64`.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(String),
    /// An array; all elements have one type.
    Array(Array),
}

/// An array value, kept compactly.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Any unsigned integer type.
    Uint(Vec<u64>),
    /// Any signed integer type.
    Int(Vec<i64>),
    /// `float32` or `float64`.
    Float(Vec<f64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Strings.
    String(Vec<String>),
    /// Arrays.
    Array(Vec<Array>),
}

impl Array {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Uint(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Float(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
            Self::Array(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Value {
    /// The kind of value, for error messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Uint(_) => "an unsigned integer",
            Self::Int(_) => "a signed integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
        }
    }
}

/// The type ids of the format.
#[derive(Clone, Copy)]
enum Kind {
    Uint(u8),
    Int(u8),
    Float(u8),
    Bool,
    String,
    Array,
}

impl Kind {
    fn from_id(id: u32, field: &str) -> Result<Self, GgufError> {
        Ok(match id {
            0 => Self::Uint(1),
            1 => Self::Int(1),
            2 => Self::Uint(2),
            3 => Self::Int(2),
            4 => Self::Uint(4),
            5 => Self::Int(4),
            6 => Self::Float(4),
            7 => Self::Bool,
            8 => Self::String,
            9 => Self::Array,
            10 => Self::Uint(8),
            11 => Self::Int(8),
            12 => Self::Float(8),
            _ => return Err(GgufError::invalid(field, format!("of value type {id}"), "a value type from 0 to 12")),
        })
    }

    /// The least bytes an element takes.
    fn min_bytes(self) -> u64 {
        match self {
            Self::Uint(n) | Self::Int(n) | Self::Float(n) => u64::from(n),
            Self::Bool => 1,
            Self::String => 8,
            Self::Array => 12,
        }
    }
}

/// Reads the value of the key `field`, its type id first.
pub(crate) fn read_value(cursor: &mut Cursor<'_>, field: &str) -> Result<Value, GgufError> {
    let kind = Kind::from_id(cursor.u32(field)?, field)?;
    Ok(match kind {
        Kind::Uint(n) => Value::Uint(read_uint(cursor, n, field)?),
        Kind::Int(n) => Value::Int(read_int(cursor, n, field)?),
        Kind::Float(n) => Value::Float(read_float(cursor, n, field)?),
        Kind::Bool => Value::Bool(read_bool(cursor, field)?),
        Kind::String => Value::String(cursor.string(field)?),
        Kind::Array => Value::Array(read_array(cursor, field, 1)?),
    })
}

fn read_array(cursor: &mut Cursor<'_>, field: &str, depth: usize) -> Result<Array, GgufError> {
    if depth > MAX_DEPTH {
        return Err(GgufError::invalid(field, format!("nested {depth} deep"), format!("at most {MAX_DEPTH} levels")));
    }
    let kind = Kind::from_id(cursor.u32(field)?, field)?;
    let len = cursor.array_len(kind.min_bytes(), field)?;
    Ok(match kind {
        Kind::Uint(n) => Array::Uint(collect(len, || read_uint(cursor, n, field))?),
        Kind::Int(n) => Array::Int(collect(len, || read_int(cursor, n, field))?),
        Kind::Float(n) => Array::Float(collect(len, || read_float(cursor, n, field))?),
        Kind::Bool => Array::Bool(collect(len, || read_bool(cursor, field))?),
        Kind::String => Array::String(collect(len, || cursor.string(field))?),
        Kind::Array => Array::Array(collect(len, || read_array(cursor, field, depth + 1))?),
    })
}

fn collect<T>(len: usize, mut read: impl FnMut() -> Result<T, GgufError>) -> Result<Vec<T>, GgufError> {
    // The length was checked against the bytes that are there.
    let mut elements = Vec::with_capacity(len);
    for _ in 0..len {
        elements.push(read()?);
    }
    Ok(elements)
}

fn read_uint(cursor: &mut Cursor<'_>, num_bytes: u8, field: &str) -> Result<u64, GgufError> {
    let mut le = [0; 8];
    le[..num_bytes as usize].copy_from_slice(cursor.take(u64::from(num_bytes), field)?);
    Ok(u64::from_le_bytes(le))
}

fn read_int(cursor: &mut Cursor<'_>, num_bytes: u8, field: &str) -> Result<i64, GgufError> {
    let unused_bits = 64 - 8 * u32::from(num_bytes);
    // Shifting up and back down extends the sign.
    Ok((read_uint(cursor, num_bytes, field)? << unused_bits).cast_signed() >> unused_bits)
}

fn read_float(cursor: &mut Cursor<'_>, num_bytes: u8, field: &str) -> Result<f64, GgufError> {
    let bits = read_uint(cursor, num_bytes, field)?;
    Ok(if num_bytes == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) })
}

fn read_bool(cursor: &mut Cursor<'_>, field: &str) -> Result<bool, GgufError> {
    match cursor.take(1, field)?[0] {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(GgufError::invalid(field, format!("the byte {other}"), "0 or 1 for a boolean")),
    }
}
