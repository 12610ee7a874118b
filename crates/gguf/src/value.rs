//! Metadata values.

use crate::{GgufError, Strings, ValueType, cursor::Cursor};

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
    String(Strings),
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

/// Reads the value of the key `field`, its type id first. Of an array the type is that of its elements.
pub(crate) fn read_value(cursor: &mut Cursor<'_>, field: &str) -> Result<(Value, ValueType), GgufError> {
    let value_type = ValueType::from_id(cursor.u32(field)?, field)?;
    let value = match value_type {
        t if t.is_uint() => Value::Uint(read_uint(cursor, t, field)?),
        t if t.is_int() => Value::Int(read_int(cursor, t, field)?),
        ValueType::Bool => Value::Bool(read_bool(cursor, field)?),
        ValueType::String => Value::String(cursor.string(field)?),
        ValueType::Array => {
            let (array, elements) = read_array(cursor, field, 1)?;
            return Ok((Value::Array(array), elements));
        }
        t => Value::Float(read_float(cursor, t, field)?),
    };
    Ok((value, value_type))
}

fn read_array(cursor: &mut Cursor<'_>, field: &str, depth: usize) -> Result<(Array, ValueType), GgufError> {
    if depth > MAX_DEPTH {
        return Err(GgufError::invalid(field, format!("nested {depth} deep"), format!("at most {MAX_DEPTH} levels")));
    }
    let elements = ValueType::from_id(cursor.u32(field)?, field)?;
    let len = cursor.array_len(elements.min_bytes(), field)?;
    let array = match elements {
        t if t.is_uint() => Array::Uint(collect(len, || read_uint(cursor, t, field))?),
        t if t.is_int() => Array::Int(collect(len, || read_int(cursor, t, field))?),
        ValueType::Bool => Array::Bool(collect(len, || read_bool(cursor, field))?),
        ValueType::String => Array::String(read_strings(cursor, len, field)?),
        ValueType::Array => Array::Array(collect(len, || Ok(read_array(cursor, field, depth + 1)?.0))?),
        t => Array::Float(collect(len, || read_float(cursor, t, field))?),
    };
    Ok((array, elements))
}

fn collect<T>(len: usize, mut read: impl FnMut() -> Result<T, GgufError>) -> Result<Vec<T>, GgufError> {
    // The length was checked against the bytes that are there.
    let mut elements = Vec::with_capacity(len);
    for _ in 0..len {
        elements.push(read()?);
    }
    Ok(elements)
}

fn read_strings(cursor: &mut Cursor<'_>, len: usize, field: &str) -> Result<Strings, GgufError> {
    let mut strings = Strings::with_capacity(len, 0);
    for _ in 0..len {
        strings.push(&cursor.text(field)?);
    }
    strings.shrink_to_fit();
    Ok(strings)
}

fn read_uint(cursor: &mut Cursor<'_>, value_type: ValueType, field: &str) -> Result<u64, GgufError> {
    let (mut le, num_bytes) = ([0; 8], value_type.min_bytes());
    le[..num_bytes as usize].copy_from_slice(cursor.take(num_bytes, field)?);
    Ok(u64::from_le_bytes(le))
}

fn read_int(cursor: &mut Cursor<'_>, value_type: ValueType, field: &str) -> Result<i64, GgufError> {
    let unused_bits = 64 - 8 * value_type.min_bytes();
    // Shifting up and back down extends the sign.
    Ok((read_uint(cursor, value_type, field)? << unused_bits).cast_signed() >> unused_bits)
}

fn read_float(cursor: &mut Cursor<'_>, value_type: ValueType, field: &str) -> Result<f64, GgufError> {
    let bits = read_uint(cursor, value_type, field)?;
    Ok(if value_type == ValueType::F32 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) })
}

fn read_bool(cursor: &mut Cursor<'_>, field: &str) -> Result<bool, GgufError> {
    match cursor.take(1, field)?[0] {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(GgufError::invalid(field, format!("the byte {other}"), "0 or 1 for a boolean")),
    }
}
