//! Typed lookups in a request's object. A null field counts as absent; errors name field, value and limit.

use std::{ops::RangeInclusive, time::Instant};

use serde_json::{Map, Value as Json};
use tokio::sync::OwnedSemaphorePermit;

use crate::error::ApiError;

/// The fields of a request.
pub(crate) struct Fields {
    map: Map<String, Json>,
    /// Size of the body they came in.
    pub(crate) num_bytes: usize,
    /// When it had been read.
    pub(crate) received_at: Instant,
    /// Their part of the memory that all large bodies share.
    _share: Option<OwnedSemaphorePermit>,
}

impl Fields {
    pub(crate) fn new(map: Map<String, Json>, num_bytes: usize, share: Option<OwnedSemaphorePermit>) -> Self {
        Self { map, num_bytes, received_at: Instant::now(), _share: share }
    }

    /// Fields for tests.
    #[cfg(test)]
    pub(crate) fn from_json(json: Json) -> Self {
        Self::new(json.as_object().expect("an object").clone(), 0, None)
    }

    /// A field that is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.map.get(name).filter(|v| !v.is_null())
    }

    /// The first of several names for one field that is there, with its value.
    pub(crate) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &Json)> {
        names.iter().find_map(|name| self.get(name).map(|value| (*name, value)))
    }

    pub(crate) fn bool(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(Json::Bool(b)) => Ok(*b),
            Some(other) => Err(wrong_type(name, "a boolean", other)),
        }
    }

    pub(crate) fn int(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|value| int(name, value, range)).transpose()
    }

    pub(crate) fn float(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong_type(name, "a number", value))?;
        if range.contains(&number) { Ok(Some(number as f32)) } else { Err(out_of_range(name, &range, value)) }
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<&Map<String, Json>>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(other) => Err(wrong_type(name, "an object", other)),
        }
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(s)) => Ok(Some(s)),
            Some(other) => Err(wrong_type(name, "a string", other)),
        }
    }

    /// A string or a list of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let string = |value: &Json| match value {
            Json::String(s) => Ok(s.clone()),
            other => Err(wrong_type(name, "a string or a list of strings", other)),
        };
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(list)) => list.iter().map(string).collect(),
            Some(value) => Ok(vec![string(value)?]),
        }
    }
}

/// An integer in a range; `5.0` is one too.
pub(crate) fn int(name: &str, value: &Json, range: RangeInclusive<i64>) -> Result<i64, ApiError> {
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    let number = number.ok_or_else(|| wrong_type(name, "an integer", value))?;
    if range.contains(&number) { Ok(number) } else { Err(out_of_range(name, &range, value)) }
}

fn out_of_range<T: std::fmt::Debug>(name: &str, range: &RangeInclusive<T>, found: &Json) -> ApiError {
    let (low, high) = (range.start(), range.end());
    ApiError::invalid(format!("Field '{name}': Value must be between {low:?} and {high:?}, but is {found}"))
}

pub(crate) fn wrong_type(name: &str, expected: &str, found: &Json) -> ApiError {
    let shown = match found {
        // These may be large; their kind says enough.
        Json::Array(list) => format!("a list of {}", list.len()),
        Json::Object(_) => "an object".to_owned(),
        Json::String(s) => shortened(s),
        other => other.to_string(),
    };
    ApiError::invalid(format!("Field '{name}': Value must be {expected}, but is {shown}"))
}

fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Fields;

    fn fields() -> Fields {
        let json = json!({ "a": null, "b": true, "i": 3.0, "f": 0.5, "s": ["x", "y"], "big": 1e300 });
        Fields::from_json(json)
    }

    #[test]
    fn null_is_absent_and_whole_floats_are_integers() {
        assert!(!fields().bool("a", false).unwrap());
        assert!(fields().bool("b", false).unwrap());
        assert_eq!(fields().int("i", 0..=3).unwrap(), Some(3));
        assert_eq!(fields().strings("s").unwrap(), ["x", "y"]);
    }

    #[test]
    fn errors_name_field_value_and_limit() {
        let text = |e: crate::error::ApiError| e.json().to_string();
        let e = text(fields().int("i", 0..=2).unwrap_err());
        assert!(e.contains("'i'") && e.contains("between 0 and 2") && e.contains("3"), "{e}");
        assert!(text(fields().int("f", 0..=2).unwrap_err()).contains("an integer"));
        assert!(text(fields().int("big", 0..=2).unwrap_err()).contains("an integer"));
        assert!(text(fields().bool("f", true).unwrap_err()).contains("a boolean"));
    }
}
