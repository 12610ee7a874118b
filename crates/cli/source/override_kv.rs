//! `--override-kv KEY=TYPE:VALUE`: metadata that the command line knows better than the file.

use std::str::FromStr;

use gguf::{Metadata, Value, ValueType};

/// Longest key and string; llama.cpp's limit.
const MAX_BYTES: usize = 127;

/// One flag's overrides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OverrideKv(Vec<(String, Value)>);

impl OverrideKv {
    /// Puts the values in the place of the file's.
    pub(crate) fn apply(&self, metadata: &mut Metadata) {
        for (key, value) in &self.0 {
            match metadata.get(key) {
                Some(_) => tracing::info!(key, ?value, "the file's metadata is overridden"),
                None => tracing::warn!(key, ?value, "the file has no such metadata; added"),
            }
            // Other programs read numbers as the file had them: unsigned where that is possible.
            let value = match value {
                Value::Int(n) => u64::try_from(*n).map_or(Value::Int(*n), Value::Uint),
                other => other.clone(),
            };
            let value_type = metadata.value_type(key).unwrap_or_else(|| ValueType::of(&value));
            metadata.insert_as(key.clone(), value, value_type);
        }
    }
}

impl FromStr for OverrideKv {
    type Err = String;

    /// Overrides stand between commas; one that holds commas stands in double quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        fields(text)?.iter().map(|field| one(field)).collect::<Result<_, _>>().map(Self)
    }
}

fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match (c, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (_, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    if quoted { Err("a double quote is not closed".to_owned()) } else { Ok(fields) }
}

fn one(text: &str) -> Result<(String, Value), String> {
    let parts = text.split_once('=').and_then(|(key, rest)| Some((key, rest.split_once(':')?)));
    let Some((key, (kind, value))) = parts.filter(|(key, _)| !key.is_empty()) else {
        return Err(format!("`{text}` is not KEY=TYPE:VALUE"));
    };
    if key.len() > MAX_BYTES {
        return Err(format!("the key `{key}` has {} bytes; at most {MAX_BYTES} are taken", key.len()));
    }
    let wrong = |expected: &str| format!("the value of `{key}` is `{value}`; expected {expected}");
    let parsed = match kind {
        "int" => Value::Int(value.parse().map_err(|_| wrong("a whole number"))?),
        "float" => {
            let number = value.parse().ok().filter(|x: &f64| x.is_finite());
            Value::Float(number.ok_or_else(|| wrong("a finite number"))?)
        }
        "bool" => Value::Bool(value.parse().map_err(|_| wrong("true or false"))?),
        "str" if value.len() > MAX_BYTES => return Err(wrong(&format!("at most {MAX_BYTES} bytes"))),
        "str" => Value::String(value.to_owned()),
        other => return Err(format!("the type of `{key}` is `{other}`; expected int, float, bool or str")),
    };
    Ok((key.to_owned(), parsed))
}

#[cfg(test)]
mod tests {
    use gguf::{Metadata, Value, ValueType};

    use super::OverrideKv;

    #[test]
    fn values_of_all_types_override() {
        let line = r#"a=int:-7,b=float:0.5,"c.d=str:x,y:z=",e=bool:true"#;
        let mut metadata = Metadata::default();
        metadata.insert("a", Value::Uint(3));
        line.parse::<OverrideKv>().unwrap().apply(&mut metadata);
        assert_eq!(metadata.get("a"), Some(&Value::Int(-7)));
        metadata.insert_as("f", Value::Uint(1), ValueType::U64);
        "f=int:2,g=int:3".parse::<OverrideKv>().unwrap().apply(&mut metadata);
        assert_eq!((metadata.value_type("f"), metadata.value_type("g")), (Some(ValueType::U64), Some(ValueType::U32)));
        assert_eq!(metadata.get("b"), Some(&Value::Float(0.5)));
        assert_eq!(metadata.str("c.d").unwrap(), Some("x,y:z="));
        assert_eq!(metadata.bool("e").unwrap(), Some(true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("a=str:{}", "x".repeat(200));
        let cases = [
            ("", "KEY=TYPE:VALUE"),
            ("a", "KEY=TYPE:VALUE"),
            ("a=int", "KEY=TYPE:VALUE"),
            ("=int:1", "KEY=TYPE:VALUE"),
            ("a=int:1,", "KEY=TYPE:VALUE"),
            ("a=int:1.5", "`a` is `1.5`"),
            ("a=float:nan", "finite"),
            ("a=bool:1", "true or false"),
            ("a=u8:1", "int, float, bool or str"),
            ("\"a=int:1", "quote"),
            (&long, "127"),
        ];
        for (text, word) in cases {
            let error = text.parse::<OverrideKv>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
