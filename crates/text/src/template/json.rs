//! The `tojson` filter, to the byte as transformers' own: Python's `json.dumps`, without escaping for HTML.

use std::fmt::Write as _;

use minijinja::{Error, ErrorKind, Value, value::Kwargs};
use serde_json::Value as Json;

use super::python;

/// The keyword arguments of `json.dumps` that templates use.
struct Style {
    indent: Option<usize>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
    ensure_ascii: bool,
}

/// Deeper values are refused; they are written by recursion.
const MAX_DEPTH: usize = 200;
/// A wider indentation is refused: it multiplies the output.
const MAX_INDENT: usize = 16;

/// `value | tojson(indent=..., ...)`.
pub(super) fn tojson(value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    if value.is_undefined() {
        return Err(invalid("tojson: the value is undefined".to_owned()));
    }
    let indent: Option<usize> = kwargs.get("indent")?;
    if let Some(n) = indent.filter(|n| *n > MAX_INDENT) {
        return Err(invalid(format!("tojson: indent is {n}; at most {MAX_INDENT} is taken")));
    }
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let style = Style {
        indent,
        between_items: if indent.is_some() { "," } else { ", " }.to_owned(),
        after_key: ": ".to_owned(),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let style = match separators.as_deref() {
        Some([item, key]) => Style { between_items: item.clone(), after_key: key.clone(), ..style },
        _ => style,
    };
    let json = serde_json::to_value(&value).map_err(|e| invalid(format!("tojson: {e}")))?;
    let mut out = String::new();
    style.write(&mut out, &json, 0).map_err(invalid)?;
    Ok(Value::from_safe_string(out))
}

impl Style {
    fn write(&self, out: &mut String, value: &Json, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("tojson: the value is nested more than {MAX_DEPTH} deep"));
        }
        match value {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(n) => match n.as_f64().filter(|_| n.is_f64()) {
                Some(x) => python::write_float(out, x),
                None => write!(out, "{n}").expect("writing to a string cannot fail"),
            },
            Json::String(s) => self.write_string(out, s),
            Json::Array(items) => {
                out.push('[');
                self.write_all(out, depth, items, |out, item| self.write(out, item, depth + 1))?;
                out.push(']');
            }
            Json::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                out.push('{');
                self.write_all(out, depth, &entries, |out, (key, item)| {
                    self.write_string(out, key);
                    out.push_str(&self.after_key);
                    self.write(out, item, depth + 1)
                })?;
                out.push('}');
            }
        }
        Ok(())
    }

    /// What stands between the brackets of a container.
    fn write_all<T>(
        &self,
        out: &mut String,
        depth: usize,
        items: &[T],
        write: impl Fn(&mut String, &T) -> Result<(), String>,
    ) -> Result<(), String> {
        for (idx, item) in items.iter().enumerate() {
            out.push_str(if idx > 0 { &self.between_items } else { "" });
            self.new_line(out, depth + 1);
            write(out, item)?;
        }
        if !items.is_empty() {
            self.new_line(out, depth);
        }
        Ok(())
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_string(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}
