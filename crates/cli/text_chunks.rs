//! A text cut into chunks of tokens, for the commands that compute a text: `imatrix`, `perplexity`, `eval-kl`.

use std::path::Path;

use anyhow::{Context, ensure};
use gguf::Gguf;
use text::{EncodeOptions, Tokenizer};
use types::TokenId;

use crate::numbers::thousands;

/// How a text is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// Tokens of a chunk.
    pub(crate) size: usize,
    /// Chunks to leave out at the beginning.
    pub(crate) skip: usize,
    /// Chunks at most; negative is all (`--chunks`).
    pub(crate) limit: i64,
    /// Whether control tokens in the text are read as such.
    pub(crate) parse_special: bool,
}

/// The text in chunks, each with the model's first token; what is left over at the end is dropped.
pub(crate) fn read(path: &Path, gguf: &Gguf, cut: Cut) -> anyhow::Result<Vec<Vec<TokenId>>> {
    let Cut { size, skip, limit, parse_special } = cut;
    let name = path.display();
    ensure!(limit != 0, "--chunks is 0; expected 1 at least, or -1 for all");
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{name}`"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("`{name}` is no UTF-8 text"))?;
    let tokenizer = Tokenizer::from_metadata(gguf.metadata())?;
    let options = EncodeOptions { add_special: true, parse_special };
    let tokens = tokenizer.encode(&text, options).with_context(|| format!("cannot tokenize `{name}`"))?;
    let found = thousands(tokens.len() as u64);
    ensure!(tokens.len() >= size, "`{name}` has {found} tokens; expected --ctx-size ({size}) at least");
    let first = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let num_chunks = tokens.len() / size;
    ensure!(skip < num_chunks, "`{name}` has {} chunks; --chunk {skip} leaves none", thousands(num_chunks as u64));
    let chunks = tokens.chunks_exact(size).skip(skip).take(limit).map(|tokens| {
        let mut chunk = tokens.to_vec();
        chunk[0] = first.unwrap_or(chunk[0]);
        chunk
    });
    Ok(chunks.collect())
}
