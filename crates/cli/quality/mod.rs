//! How well a model predicts a text: `perplexity` of one, `eval-kl` of two side by side.
//!
//! As llama-perplexity does: the text is cut into chunks of `--ctx-size` tokens, each begins with the model's first token, and
//! the second half of each is scored, so that every prediction has a context.

mod chunks;
mod eval_kl;
mod perplexity;
mod scores;

pub(crate) use eval_kl::{EvalKlArgs, run as run_eval_kl};
pub(crate) use perplexity::{PerplexityArgs, run as run_perplexity};
