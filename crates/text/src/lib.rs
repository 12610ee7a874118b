//! Text in and out: tokenizers built from GGUF metadata, incremental detokenizing, stop strings, chat templates.
//!
//! Invariants: nothing here panics on a hostile file, template or text; encoding takes time linear in the text (times
//! the logarithm of its longest word); what a detokenizer emits is whole UTF-8 characters.

mod cancelled;
mod detokenize;
mod error;
mod nearest;
mod stop;
mod template;
mod tokenizer;

pub use cancelled::Cancelled;
pub use detokenize::{DetokenizeOptions, Detokenizer};
pub use error::TextError;
pub use stop::{StopMatcher, StopOutcome};

pub use template::{ChatInput, ChatTemplate};
pub use tokenizer::{EncodeOptions, FimTokens, Kind, Tokenizer};
