//! What can go wrong with text.

use gguf::GgufError;

/// Why a tokenizer or a template could not be built or used. Messages name the field, the value and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The metadata lacks a key or holds another type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A kind of tokenizer that this build does not have.
    #[error("tokenizer.ggml.model is `{found}`, which is not supported{why}; supported are {supported}")]
    UnknownModel {
        /// The name in the file.
        found: String,
        /// What is known about that kind; begins with a colon unless it is empty.
        why: &'static str,
        /// All names that work.
        supported: String,
    },
    /// A pre-tokenizer that this build does not have.
    #[error("tokenizer.ggml.pre is `{found}`, which is not supported; the nearest is `{nearest}`, all are {supported}")]
    UnknownPreTokenizer {
        /// The name in the file.
        found: String,
        /// The supported name that looks most like it.
        nearest: String,
        /// All names that work.
        supported: String,
    },
    /// The vocabulary contradicts itself.
    #[error("the vocabulary cannot be used: {0}")]
    Vocabulary(String),
    /// A text that has no tokens in this vocabulary.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// Nobody waits for the result any more.
    #[error("the text is no longer wanted")]
    Cancelled,
    /// A chat template that does not parse.
    #[error("the chat template `{name}` does not compile: {}{reason}", at(*.line))]
    TemplateSyntax {
        /// Where the template stands: a metadata key or a file.
        name: String,
        /// Line in the template, from 1.
        line: Option<usize>,
        /// What the template engine says.
        reason: String,
    },
    /// A chat template that refuses these messages, or fails on them.
    #[error("the chat template `{name}` failed: {}{reason}", at(*.line))]
    TemplateRender {
        /// Where the template stands: a metadata key or a file.
        name: String,
        /// Line in the template, from 1.
        line: Option<usize>,
        /// What the template engine, or the template itself, says.
        reason: String,
    },
}

fn at(line: Option<usize>) -> String {
    line.map(|n| format!("line {n}: ")).unwrap_or_default()
}

impl TextError {
    /// A [`TextError::Vocabulary`] from anything printable.
    pub(crate) fn vocabulary(reason: impl Into<String>) -> Self {
        Self::Vocabulary(reason.into())
    }
}
