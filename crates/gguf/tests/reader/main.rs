//! The reader against files written byte by byte: what it accepts, and which field each error names.

mod header;
mod raw;
mod split;
mod tensors;
mod values;
mod weights;

use gguf::Gguf;

/// Parses and checks that the outcome, `ok` or the error's text, holds `expect`.
fn check(bytes: Vec<u8>, expect: &str) {
    let message = Gguf::from_bytes(bytes).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
}
