//! The key-value part of a file, with typed lookups that name the key in their errors.

use std::collections::BTreeMap;

use crate::{Array, GgufError, Strings, Value, ValueType};

/// All metadata of a file, by key.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    values: BTreeMap<String, (Value, ValueType)>,
}

impl Metadata {
    /// Adds a value; returns whether the key was new.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> bool {
        let value_type = ValueType::of(&value);
        self.insert_as(key, value, value_type)
    }

    /// Adds a value that is to be stored as `value_type` (of an array: its elements), where that loses nothing of it;
    /// returns whether the key was new.
    pub fn insert_as(&mut self, key: impl Into<String>, value: Value, value_type: ValueType) -> bool {
        let value_type = if value_type.fits(&value) { value_type } else { ValueType::of(&value) };
        self.values.insert(key.into(), (value, value_type)).is_none()
    }

    /// Removes a value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key).map(|(value, _)| value)
    }

    /// Takes out all values whose keys begin with `prefix`.
    #[must_use]
    pub fn take(&mut self, prefix: &str) -> Self {
        let (taken, left) = std::mem::take(&mut self.values).into_iter().partition(|(key, _)| key.starts_with(prefix));
        self.values = left;
        Self { values: taken }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).map(|(value, _)| value)
    }

    /// How the value of a key is stored (of an array: its elements).
    #[must_use]
    pub fn value_type(&self, key: &str) -> Option<ValueType> {
        self.values.get(key).map(|(_, value_type)| *value_type)
    }

    /// All pairs, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(k, (v, _))| (k.as_str(), v))
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn uint(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "a non-negative integer", |v| match v {
            Value::Uint(n) => Some(*n),
            Value::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        })
    }

    /// A finite number (integers count).
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn float(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "a finite number", |v| match v {
            Value::Float(x) => (*x as f32).is_finite().then_some(*x as f32),
            Value::Uint(n) => Some(*n as f32),
            Value::Int(n) => Some(*n as f32),
            _ => None,
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }

    /// A string.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |v| if let Value::String(s) = v { Some(s.as_str()) } else { None })
    }

    /// An array of strings.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>, GgufError> {
        self.typed(key, "an array of strings", |v| match v {
            Value::Array(Array::String(a)) => Some(a),
            _ => None,
        })
    }

    /// An array of non-negative integers; a single integer reads as an array of one.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn uints(&self, key: &str) -> Result<Option<Vec<u64>>, GgufError> {
        self.typed(key, "an array of non-negative integers", |v| match v {
            Value::Array(Array::Uint(a)) => Some(a.clone()),
            Value::Array(Array::Int(a)) => a.iter().map(|n| u64::try_from(*n).ok()).collect(),
            Value::Uint(n) => Some(vec![*n]),
            Value::Int(n) => Some(vec![u64::try_from(*n).ok()?]),
            _ => None,
        })
    }

    /// An array of floats.
    ///
    /// # Errors
    /// [`GgufError::Invalid`] when the value is something else.
    pub fn floats(&self, key: &str) -> Result<Option<&[f64]>, GgufError> {
        self.typed(key, "an array of floats", |v| match v {
            Value::Array(Array::Float(a)) => Some(a.as_slice()),
            _ => None,
        })
    }

    /// A value that must be there: turns the `None` of a typed lookup into an error.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], or the lookup's own error.
    pub fn require<T>(&self, key: &str, found: Result<Option<T>, GgufError>) -> Result<T, GgufError> {
        found?.ok_or_else(|| GgufError::MissingKey(key.to_owned()))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(GgufError::invalid(key, value.kind(), expected)),
        }
    }
}
