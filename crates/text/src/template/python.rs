//! Values printed as Python prints them: `None`, `True`, `['a', 1.0]`, `{'k': 'v'}`.

use std::fmt::Write as _;

use minijinja::{Error, Output, State, Value, value::ValueKind};

/// The formatter of `{{ ... }}`.
pub(super) fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut text = String::new();
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Bool | ValueKind::None => write_repr(&mut text, value),
        ValueKind::Number => write_number(&mut text, value),
        _ => return minijinja::escape_formatter(out, state, value),
    }
    out.write_str(&text).map_err(Error::from)
}

/// `repr(value)`.
fn write_repr(out: &mut String, value: &Value) {
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            out.push('[');
            for (idx, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if idx > 0 { ", " } else { "" });
                write_repr(out, &item);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (idx, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if idx > 0 { ", " } else { "" });
                write_repr(out, &key);
                out.push_str(": ");
                write_repr(out, &value.get_item(&key).unwrap_or_default());
            }
            out.push('}');
        }
        _ => write!(out, "{value}").expect("writing to a string cannot fail"),
    }
}

fn write_string(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => {
                write!(out, "\\x{:02x}", c as u32).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn write_number(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(x) if !value.is_integer() => write_float(out, x),
        _ => write!(out, "{value}").expect("writing to a string cannot fail"),
    }
}

/// `repr(x)` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
pub(super) fn write_float(out: &mut String, x: f64) {
    let shortest = format!("{x:e}");
    let exponent: i32 = shortest.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let written = match shortest.split_once('e') {
        Some((digits, _)) if x != 0.0 && !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => write!(out, "{x:?}"),
    };
    written.expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::value::Serde;
    use serde_json::json;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (x, expect) in [
            (1.0, "1.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (0.0, "0.0"),
        ] {
            let mut text = String::new();
            write_float(&mut text, x);
            assert_eq!(text, expect);
        }
    }

    #[test]
    fn containers_are_written_as_python_writes_them() {
        let value = json!({"a": [1, 2.0, null, true, "it's", "say \"hi\"", "b'\"\n"], "é": {}});
        let mut text = String::new();
        write_repr(&mut text, &Value::from(Serde(&value)));
        let expect = r#"{'a': [1, 2.0, None, True, "it's", 'say "hi"', 'b\'"\n'], 'é': {}}"#;
        assert_eq!(text, expect);
    }
}
