//! Values printed as Python prints them: `None`, `True`, `['a', 1.0]`, `{'k': 'v'}`.

use std::{fmt::Write as _, sync::LazyLock};

use minijinja::{
    Error, ErrorKind, Output, State, Value,
    value::{Tuple, ValueKind},
};
use regex::Regex;

/// Deeper values are refused: they are written by recursion.
pub(super) const MAX_DEPTH: usize = 200;
/// Bytes for which a step of work is counted, as the engine counts them.
const BYTES_PER_STEP: usize = 64;

/// What Python escapes in `repr`, apart from ASCII.
static NOT_PRINTABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{C}\p{Z}]").expect("a constant pattern that a test compiles"));

/// The formatter of `{{ ... }}`.
pub(super) fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut text = String::new();
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Bool | ValueKind::None => {
            write_repr(&mut text, &mut Meter::new(state), value, 0)?;
        }
        ValueKind::Number => write_number(&mut text, value),
        _ => return minijinja::escape_formatter(out, state, value),
    }
    out.write_str(&text).map_err(Error::from)
}

/// Whether Python could iterate over a value: not over `None`.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Counts the work of writing a value against what a rendering may do: values may be shared, and so print as text that
/// is exponentially longer than they are.
pub(super) struct Meter<'a> {
    state: &'a State<'a, 'a>,
    num_counted: usize,
}

impl<'a> Meter<'a> {
    pub(super) fn new(state: &'a State<'a, 'a>) -> Self {
        Self { state, num_counted: 0 }
    }

    /// Counts one value at this depth and the bytes that were written since the last one.
    pub(super) fn count(&mut self, num_bytes: usize, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let why = format!("the value is nested more than {MAX_DEPTH} deep");
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
        let steps = 1 + (num_bytes - self.num_counted) / BYTES_PER_STEP;
        self.num_counted = num_bytes;
        self.state.consume_fuel(steps as u64)
    }
}

/// `repr(value)`.
fn write_repr(out: &mut String, meter: &mut Meter<'_>, value: &Value, depth: usize) -> Result<(), Error> {
    meter.count(out.len(), depth)?;
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            let is_tuple = value.downcast_object_ref::<Tuple>().is_some();
            out.push(if is_tuple { '(' } else { '[' });
            for (idx, item) in value.try_iter()?.enumerate() {
                out.push_str(if idx > 0 { ", " } else { "" });
                write_repr(out, meter, &item, depth + 1)?;
            }
            out.push_str(match (is_tuple, value.len()) {
                (true, Some(1)) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            });
        }
        ValueKind::Map => {
            out.push('{');
            for (idx, key) in value.try_iter()?.enumerate() {
                out.push_str(if idx > 0 { ", " } else { "" });
                write_repr(out, meter, &key, depth + 1)?;
                out.push_str(": ");
                write_repr(out, meter, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}").expect("writing to a string cannot fail"),
    }
    Ok(())
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
            ' '..='~' => out.push(c),
            c if c.is_ascii() || NOT_PRINTABLE.is_match(c.encode_utf8(&mut [0; 4])) => write_escape(out, c),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// A character by its number: `\x7f`, `\u200b`, `\U000e0001`.
fn write_escape(out: &mut String, c: char) {
    let written = match c as u32 {
        code @ ..=0xFF => write!(out, "\\x{code:02x}"),
        code @ 0x100..=0xFFFF => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
    written.expect("writing to a string cannot fail");
}

/// An integer, or [`write_float`].
pub(super) fn write_number(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(x) if !value.is_integer() => write_float(out, x),
        _ => write!(out, "{value}").expect("writing to a string cannot fail"),
    }
}

/// `repr(x)` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
fn write_float(out: &mut String, x: f64) {
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

    fn check(template: &str, expect: &str) {
        let mut environment = minijinja::Environment::new();
        environment.set_formatter(format);
        let variables = json!({"value": {"a": [1, 2.0, null, true, "it's", "say \"hi\"", "b'\"\n"], "é\u{200b}": {}}});
        let found = environment.render_str(template, Value::from(Serde(&variables))).expect("it renders");
        assert_eq!(found, expect);
    }

    #[test]
    fn containers_are_written_as_python_writes_them() {
        let expect = r#"{'a': [1, 2.0, None, True, "it's", 'say "hi"', 'b\'"\n'], 'é\u200b': {}}"#;
        check("{{ value }}", expect);
        check("{{ (1,) }} {{ (1, 'a') }} {{ [] }}", "(1,) (1, 'a') []");
        check("{{ '\u{a0}\u{7f}' }}{{ ['\u{a0}\u{7f}\u{e0001}'] }}", "\u{a0}\u{7f}['\\xa0\\x7f\\U000e0001']");
    }
}
