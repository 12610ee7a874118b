//! LoRA adapters: what they change, merged into their base or converted to GGUF.
//!
//! Every adapter becomes a list of changes to tensors by their GGUF names, also those of PEFT: a model's family renames
//! and reorders the factors as it does the weights. So any adapter fits any base of the same model.

mod export;
mod gguf_adapter;
mod low_rank;
mod merge;
mod peft;

pub use export::convert_lora;
pub use merge::{MergeOptions, merge_lora};

use std::path::Path;

use crate::{
    ConvertError,
    arch::{Family, Heads},
    recipe::Recipe,
};

/// What an adapter does to a tensor of a model.
pub(crate) struct Change {
    /// The tensor's name in GGUF.
    name: String,
    effect: Effect,
}

enum Effect {
    /// Adds a matrix.
    Add(Recipe),
    /// Adds a matrix, then gives each row this length.
    AddAndScale { delta: Recipe, magnitude: Recipe },
    /// Takes its place.
    Replace(Recipe),
}

/// Reads what an adapter changes in a model of this family; `scale` multiplies what it adds.
fn changes(path: &Path, family: &Family, heads: &Heads, scale: f32) -> Result<Vec<Change>, ConvertError> {
    if path.is_dir() {
        peft::Adapter::read(path)?.changes(family, heads, scale)
    } else {
        gguf_adapter::changes(path, family, scale)
    }
}
