//! Chat templates: the Jinja of the model's file, rendered as Python's Jinja2 would (set up as transformers does), or a
//! format that is built in.

mod clock;
mod compiled;
mod environment;
mod formats;
mod json;
mod python;

use std::{sync::Arc, time::SystemTime};

use gguf::Metadata;
use serde_json::Map;

use crate::{TextError, Tokenizer, nearest};
use clock::Clock;
use compiled::Compiled;
use formats::Format;

const TEMPLATE: &str = "tokenizer.chat_template";
const TOOL_TEMPLATE: &str = "tokenizer.chat_template.tool_use";

/// Used where a file has no template.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
                      '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
                      {% endif %}";

/// What a template is rendered with.
#[derive(Clone, Copy, Debug)]
pub struct ChatInput<'a> {
    /// The conversation, in OpenAI's form.
    pub messages: &'a serde_json::Value,
    /// The tools that may be called, in OpenAI's form.
    pub tools: Option<&'a serde_json::Value>,
    /// End with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// More variables; they win over those above.
    pub kwargs: &'a Map<String, serde_json::Value>,
}

/// What turns a conversation into a prompt: a Jinja template, or one of the formats that are built in.
pub struct ChatTemplate {
    engine: Engine,
    bos: String,
    eos: String,
}

enum Engine {
    Jinja {
        main: Box<Compiled>,
        /// A template of its own for requests with tools.
        tools: Option<Box<Compiled>>,
    },
    /// The format, and what it was told by: its name or a template's text.
    Format(&'static Format, String),
}

impl ChatTemplate {
    /// The template of a model file, or ChatML where it has none.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] when the file's template does not compile.
    pub fn from_metadata(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let text = |id: Option<types::TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        let (name, source) = metadata.str(TEMPLATE)?.map_or(("chatml", CHATML), |source| (TEMPLATE, source));
        let main = Box::new(Compiled::new(name, source, clock::system())?);
        let tool_source = metadata.str(TOOL_TEMPLATE)?;
        let tools = tool_source.map(|s| Compiled::new(TOOL_TEMPLATE, s, clock::system()).map(Box::new)).transpose()?;
        let (bos, eos) = (text(tokenizer.bos()).to_owned(), text(tokenizer.eos()).to_owned());
        Ok(Self { engine: Engine::Jinja { main, tools }, bos, eos })
    }

    /// A template from its source, with the texts of the tokens that begin and end a text. Errors call it by `name`:
    /// the file or the key that it comes from.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] when it does not compile.
    pub fn from_source(name: &str, source: &str, bos: &str, eos: &str) -> Result<Self, TextError> {
        let main = Box::new(Compiled::new(name, source, clock::system())?);
        Ok(Self { engine: Engine::Jinja { main, tools: None }, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The built-in format with this name; see [`ChatTemplate::format_names`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Format::named(name).map(|format| Self::from_format(format, name))
    }

    /// The built-in format that a Jinja template (or a name) means, as llama-server tells it by the marks in the text.
    /// The template is not run.
    #[must_use]
    pub fn without_jinja(source: &str) -> Option<Self> {
        formats::detect(source).map(|format| Self::from_format(format, source))
    }

    fn from_format(format: &'static Format, source: &str) -> Self {
        Self { engine: Engine::Format(format, source.to_owned()), bos: String::new(), eos: String::new() }
    }

    /// The Jinja source in a model file.
    ///
    /// # Errors
    /// [`TextError::Metadata`] when the key holds something else.
    pub fn source_in(metadata: &Metadata) -> Result<Option<&str>, TextError> {
        Ok(metadata.str(TEMPLATE)?)
    }

    /// The names of all built-in formats.
    pub fn format_names() -> impl Iterator<Item = &'static str> {
        formats::FORMATS.iter().map(|format| format.name)
    }

    /// The built-in format's name that looks most like this one.
    #[must_use]
    pub fn nearest_format(name: &str) -> &'static str {
        let names: Vec<&'static str> = Self::format_names().collect();
        nearest::nearest(name, &names).unwrap_or("chatml")
    }

    /// The built-in format in use; `None` for a Jinja template.
    #[must_use]
    pub fn format_name(&self) -> Option<&'static str> {
        match &self.engine {
            Engine::Format(format, _) => Some(format.name),
            Engine::Jinja { .. } => None,
        }
    }

    /// The same template with another clock: what `strftime_now` tells (in UTC).
    ///
    /// # Errors
    /// None in practice: the sources compiled before.
    pub fn with_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Result<Self, TextError> {
        let clock: Clock = Arc::new(now);
        let engine = match self.engine {
            Engine::Jinja { main, tools } => {
                let main = Box::new(main.with_clock(Arc::clone(&clock))?);
                let tools = tools.map(|tools| tools.with_clock(clock).map(Box::new)).transpose()?;
                Engine::Jinja { main, tools }
            }
            format => format,
        };
        Ok(Self { engine, ..self })
    }

    /// The source of the template; of a built-in format, what it was told by.
    #[must_use]
    pub fn source(&self) -> &str {
        match &self.engine {
            Engine::Jinja { main, .. } => main.source(),
            Engine::Format(_, source) => source,
        }
    }

    /// The prompt for a conversation. Built-in formats know no tools and no further variables.
    ///
    /// # Errors
    /// [`TextError::TemplateRender`] when the template refuses the conversation (its `raise_exception`), fails on it, or
    /// does more work than any sane template.
    pub fn render(&self, input: &ChatInput<'_>) -> Result<String, TextError> {
        let (main, tools) = match &self.engine {
            Engine::Jinja { main, tools } => (main, tools),
            Engine::Format(format, _) => {
                let messages = input.messages.as_array().map(Vec::as_slice).unwrap_or_default();
                return Ok(format.render(messages, input.add_generation_prompt));
            }
        };
        let mut variables = Map::new();
        variables.insert("messages".to_owned(), input.messages.clone());
        if let Some(tools) = input.tools {
            variables.insert("tools".to_owned(), tools.clone());
        }
        variables.insert("add_generation_prompt".to_owned(), input.add_generation_prompt.into());
        variables.insert("bos_token".to_owned(), self.bos.as_str().into());
        variables.insert("eos_token".to_owned(), self.eos.as_str().into());
        variables.extend(input.kwargs.clone());
        let template = tools.as_ref().filter(|_| input.tools.is_some()).unwrap_or(main);
        template.render(&variables)
    }
}
