//! One template, and how it is rendered without trusting it.

use std::thread;

use minijinja::{Environment, Error, ErrorKind, Value, value::Serde};
use serde_json::{Map, Value as Json};

use super::{
    clock::Clock,
    environment::{self, NAME},
};
use crate::TextError;

/// Steps that a rendering may take, whatever it is given. A step is an instruction, or 64 bytes written. Templates of
/// real models take some hundred.
const BASE_STEPS: u64 = 200_000;
/// Steps more for each value of the conversation. Templates take up to some hundred for a message, which is several
/// values.
const STEPS_PER_VALUE: u64 = 200;
/// Bytes of the conversation's texts for each of which there is a step more.
const BYTES_PER_STEP: u64 = 2;
/// No rendering may take more, however long its conversation: some five thousand messages of a real template.
const MAX_STEPS: u64 = 1 << 20;
/// Stack for each step. A template may nest a value one level deeper with every step, and values are compared, printed
/// and dropped by recursion: below 200 bytes a level (768 where the engine is not optimized). Only what is used is
/// real, and with [`MAX_STEPS`] it is at most what small machines can reserve, 1 GiB.
const STACK_BYTES_PER_STEP: u64 = 1024;

/// A template ready to render.
pub(super) struct Compiled {
    name: String,
    source: String,
    environment: Environment<'static>,
}

impl Compiled {
    /// Compiles a template. `name` is where it comes from, for errors.
    pub(super) fn new(name: &str, source: &str, clock: Clock) -> Result<Self, TextError> {
        let name = name.to_owned();
        match environment::compile(source, clock) {
            Ok(environment) => Ok(Self { name, source: source.to_owned(), environment }),
            Err(e) => Err(TextError::TemplateSyntax { name, line: e.line(), reason: reason(&e) }),
        }
    }

    /// The same template with another clock.
    pub(super) fn with_clock(&self, clock: Clock) -> Result<Self, TextError> {
        Self::new(&self.name, &self.source, clock)
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Renders with these variables, on a thread whose stack suffices for whatever the template does in its steps.
    pub(super) fn render(&self, variables: &Map<String, Json>) -> Result<String, TextError> {
        let num_steps = (BASE_STEPS + variables.values().map(steps).sum::<u64>()).min(MAX_STEPS);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(num_steps));
        let render = || environment.get_template(NAME)?.render(Value::from(Serde(variables)));
        let stack_bytes = (num_steps * STACK_BYTES_PER_STEP) as usize;
        let rendered = thread::scope(|scope| {
            let thread = thread::Builder::new().name("chat-template".to_owned()).stack_size(stack_bytes);
            match thread.spawn_scoped(scope, render) {
                Ok(thread) => thread.join().unwrap_or_else(|_| Err(failed("the template engine panicked".to_owned()))),
                Err(e) => Err(failed(format!("no thread with a stack of {stack_bytes} bytes: {e}"))),
            }
        });
        rendered.map_err(|e| TextError::TemplateRender {
            name: self.name.clone(),
            line: e.line(),
            reason: match e.kind() {
                ErrorKind::OutOfFuel => format!("it takes more than {num_steps} steps"),
                _ => reason(&e),
            },
        })
    }
}

fn failed(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

/// Steps that a part of the conversation is worth.
fn steps(value: &Json) -> u64 {
    STEPS_PER_VALUE
        + match value {
            Json::String(text) => text.len() as u64 / BYTES_PER_STEP,
            Json::Array(items) => items.iter().map(steps).sum(),
            Json::Object(map) => map.iter().map(|(key, item)| key.len() as u64 / BYTES_PER_STEP + steps(item)).sum(),
            _ => 0,
        }
}

/// What went wrong, without the place.
fn reason(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
