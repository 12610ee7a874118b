//! The template engine, set up to do what Jinja2 does with transformers' settings.

use std::sync::LazyLock;

use minijinja::{Environment, Error, ErrorKind, Value, syntax::SyntaxConfig};
use regex::Regex;

use super::{
    clock::{self, Clock},
    json, python,
};

/// Name of the only template. Without an ending, so that nothing is escaped for HTML or JSON.
pub(super) const NAME: &str = "chat_template";

/// transformers' own tag, which marks what a model is trained on; it prints what it encloses.
static GENERATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}").expect("a constant pattern that a test compiles")
});

/// An environment that holds the template.
pub(super) fn compile(source: &str, clock: Clock) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_debug(false);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(python::format);
    environment.add_filter("tojson", json::tojson);
    environment.add_test("iterable", python::is_iterable);
    // They indent each level of a value deeper than the one before, without counting what they write.
    environment.remove_filter("pprint");
    environment.remove_global("debug");
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", move |format: String| clock::format(&format, clock()));
    environment.add_template_owned(NAME, GENERATION.replace_all(source, "{#$1 $2#}").into_owned())?;
    Ok(environment)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}
