//! Chat templates: the Jinja of the model's file, rendered as Python's Jinja2 would (set up as transformers does).

mod clock;
mod compiled;
mod environment;
mod json;
mod python;

use std::{sync::Arc, time::SystemTime};

use gguf::Metadata;
use serde_json::Map;

use crate::{TextError, Tokenizer};
use clock::Clock;
use compiled::Compiled;

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

/// A compiled chat template.
pub struct ChatTemplate {
    main: Compiled,
    /// A template of its own for requests with tools.
    tools: Option<Compiled>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template of a model file, or ChatML where it has none.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] when the file's template does not compile.
    pub fn from_metadata(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let text = |id: Option<types::TokenId>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        let (name, source) = metadata.str(TEMPLATE)?.map_or(("chatml", CHATML), |source| (TEMPLATE, source));
        let mut template = Self::from_source(name, source, text(tokenizer.bos()), text(tokenizer.eos()))?;
        let tool_source = metadata.str(TOOL_TEMPLATE)?;
        template.tools = tool_source.map(|s| Compiled::new(TOOL_TEMPLATE, s, clock::system())).transpose()?;
        Ok(template)
    }

    /// A template from its source, with the texts of the tokens that begin and end a text. Errors call it by `name`:
    /// the file or the key that it comes from.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`] when it does not compile.
    pub fn from_source(name: &str, source: &str, bos: &str, eos: &str) -> Result<Self, TextError> {
        let main = Compiled::new(name, source, clock::system())?;
        Ok(Self { main, tools: None, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The same template with another clock: what `strftime_now` tells (in UTC).
    ///
    /// # Errors
    /// None in practice: the sources compiled before.
    pub fn with_clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Result<Self, TextError> {
        let clock: Clock = Arc::new(now);
        let main = self.main.with_clock(Arc::clone(&clock))?;
        let tools = self.tools.map(|tools| tools.with_clock(clock)).transpose()?;
        Ok(Self { main, tools, ..self })
    }

    /// The source of the template.
    #[must_use]
    pub fn source(&self) -> &str {
        self.main.source()
    }

    /// The prompt for a conversation.
    ///
    /// # Errors
    /// [`TextError::TemplateRender`] when the template refuses the conversation (its `raise_exception`), fails on it, or
    /// does more work than any sane template.
    pub fn render(&self, input: &ChatInput<'_>) -> Result<String, TextError> {
        let mut variables = Map::new();
        variables.insert("messages".to_owned(), input.messages.clone());
        if let Some(tools) = input.tools {
            variables.insert("tools".to_owned(), tools.clone());
        }
        variables.insert("add_generation_prompt".to_owned(), input.add_generation_prompt.into());
        variables.insert("bos_token".to_owned(), self.bos.as_str().into());
        variables.insert("eos_token".to_owned(), self.eos.as_str().into());
        variables.extend(input.kwargs.clone());
        let template = self.tools.as_ref().filter(|_| input.tools.is_some()).unwrap_or(&self.main);
        template.render(&variables)
    }
}
