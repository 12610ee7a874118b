//! From files to specifications: what each architecture reads, and what each unsound file is refused for.

mod golden;
mod metadata;
mod parts;
mod small;
mod specs;
mod tensors;

use model::{DecoderSpec, ModelError, decoder_spec, resolve_weights};
use small::Small;

/// Reads the specification and finds all weights.
fn load(model: &Small) -> Result<DecoderSpec, ModelError> {
    let gguf = model.build();
    let spec = decoder_spec(&gguf)?;
    let weights = resolve_weights(&spec, &gguf)?;
    assert_eq!(weights.layers.len(), spec.layers.len(), "layers with weights");
    Ok(spec)
}

/// Loads and checks that the outcome, `ok` or the error's text, holds `expect`.
fn check(model: &Small, expect: &str) {
    let message = load(model).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
}
