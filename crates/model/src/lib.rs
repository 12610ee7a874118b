//! What a GGUF model is, as data: metadata becomes a [`DecoderSpec`], tensor names become [`DecoderWeights`].
//!
//! The executors each read the specification with one forward pass; nothing here computes a layer. A new architecture
//! is one file in `arch/` and one line in its registry; a new kind of layer is a new enum variant.

mod arch;
mod attention;
mod error;
mod ffn;
mod keys;
mod kv_layers;
mod resolve;
mod rope;
mod spec;
mod weights;

pub use arch::{decoder_spec, supported_architectures};
pub use attention::{Attention, Latent, Mask, QkNorm, Temperature, Values};
pub use error::ModelError;
pub use ffn::{Activation, ExpertGroups, Ffn, GroupScore, Moe, Scoring, Shared, SharedWeight, Weighted};
pub use kv_layers::KvLayers;
pub use resolve::resolve_weights;
pub use rope::{Rope, RopeScaling, RopeStyle, Yarn};
pub use spec::{DecoderSpec, Head, LayerSpec, Names, Norm, Pooling, Residual};
pub use weights::{
    AttentionWeights, DecoderWeights, ExpertLinear, FfnWeights, GatedAndMoeWeights, GatedWeights, HeadWeights,
    LatentKeys, LatentWeights, LayerWeights, Linear, MoeWeights, NormWeights, PerLayerBlock, PerLayerInputs,
    PlainWeights, QueryWeights, RopeFactors, SharedExpert, Stacked,
};
