//! The `tojson` filter, to the byte as transformers' own: Python's `json.dumps`, without escaping for HTML.

use std::fmt::Write as _;

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, ValueKind},
};

use super::python::{self, Meter};

/// The keyword arguments of `json.dumps` that templates use.
struct Style {
    indent: Option<usize>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
    ensure_ascii: bool,
}

/// A wider indentation is refused: it multiplies the output.
const MAX_INDENT: usize = 16;

/// `value | tojson(indent=..., ...)`.
pub(super) fn tojson(state: &State<'_, '_>, value: Value, kwargs: Kwargs) -> Result<Value, Error> {
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
    let mut writer = Writer { style, meter: Meter::new(state), out: String::new() };
    writer.write(&value, 0)?;
    Ok(Value::from_safe_string(writer.out))
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

struct Writer<'a> {
    style: Style,
    meter: Meter<'a>,
    out: String,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.meter.count(self.out.len(), depth)?;
        match value.kind() {
            ValueKind::String => self.write_string(value.as_str().unwrap_or_default()),
            // Python refuses generators here; they are written as lists.
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut is_empty = true;
                for item in value.try_iter()? {
                    self.next_item(is_empty, depth + 1);
                    self.write(&item, depth + 1)?;
                    is_empty = false;
                }
                self.close(']', is_empty, depth);
            }
            ValueKind::Map => {
                self.out.push('{');
                let keys = self.keys(value)?;
                for (idx, key) in keys.iter().enumerate() {
                    self.next_item(idx == 0, depth + 1);
                    self.write_key(key)?;
                    self.write(&value.get_item(key)?, depth + 1)?;
                }
                self.close('}', keys.is_empty(), depth);
            }
            _ => self.write_scalar(value)?,
        }
        Ok(())
    }

    fn keys(&self, map: &Value) -> Result<Vec<Value>, Error> {
        let mut keys: Vec<Value> = map.try_iter()?.collect();
        if self.style.sort_keys {
            keys.sort();
        }
        Ok(keys)
    }

    fn write_key(&mut self, key: &Value) -> Result<(), Error> {
        match key.as_str() {
            Some(text) => self.write_string(text),
            None => {
                self.out.push('"');
                self.write_scalar(key)?;
                self.out.push('"');
            }
        }
        self.out.push_str(&self.style.after_key);
        Ok(())
    }

    fn write_scalar(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => python::write_number(&mut self.out, value),
            kind => return Err(invalid(format!("tojson: a value of kind `{kind}` cannot be written as JSON"))),
        }
        Ok(())
    }

    fn next_item(&mut self, is_first: bool, depth: usize) {
        if !is_first {
            self.out.push_str(&self.style.between_items);
        }
        self.new_line(depth);
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.new_line(depth);
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = self.style.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_string(&mut self, text: &str) {
        let out = &mut self.out;
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
                c if c < ' ' || (self.style.ensure_ascii && c > '~') => {
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

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;

    use super::*;

    fn check(arguments: &str, expect: &str) {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", tojson);
        let value = serde_json::json!({"b": [1, 2.0, null, true, {}, []], "a": "<\"é\u{7f}\n🙂>"});
        let variables = serde_json::json!({ "value": value });
        let template = format!("{{{{ value | tojson({arguments}) }}}}");
        let found = environment.render_str(&template, Value::from(Serde(&variables))).expect("it renders");
        assert_eq!(found, expect, "{arguments}");
    }

    #[test]
    fn values_are_written_as_python_writes_them() {
        check("", "{\"b\": [1, 2.0, null, true, {}, []], \"a\": \"<\\\"é\u{7f}\\n🙂>\"}");
        check(
            "separators=[',', ':'], sort_keys=true, ensure_ascii=true",
            r#"{"a":"<\"\u00e9\u007f\n\ud83d\ude42>","b":[1,2.0,null,true,{},[]]}"#,
        );
        let items = "[\n    1,\n    2.0,\n    null,\n    true,\n    {},\n    []\n  ]";
        check("indent=2", &["{\n  \"b\": ", items, ",\n  \"a\": \"<\\\"é\u{7f}\\n🙂>\"\n}"].concat());
    }

    #[test]
    fn what_json_cannot_say_is_an_error() {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", tojson);
        for (template, expect) in [
            ("{{ nothing | tojson }}", "kind `undefined`"),
            ("{{ [1] | tojson(indent=99) }}", "indent is 99; at most 16"),
            ("{{ [1] | tojson(colour=1) }}", "colour"),
        ] {
            let error = environment.render_str(template, ()).expect_err("an error");
            assert!(error.to_string().contains(expect), "{error}");
        }
    }
}
