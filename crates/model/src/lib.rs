//! What a GGUF model is, as data: metadata becomes a [`DecoderSpec`], tensor names become [`DecoderWeights`].
//!
//! The executors each read the specification with one forward pass; nothing here computes a layer. A new architecture
//! is one file in `arch/` and one line in its registry; a new kind of layer is a new enum variant.

mod arch;
mod error;
mod keys;
mod rope;
mod spec;
mod weights;

pub use arch::{decoder_spec, supported_architectures};
pub use error::ModelError;
pub use rope::{Rope, RopeStyle};
pub use spec::{Activation, Attention, DecoderSpec, Ffn, LayerSpec, Mask, Moe};
pub use weights::{
    DecoderWeights, FfnWeights, GatedWeights, LayerWeights, Linear, MoeWeights, SharedExpert, resolve_weights,
};
