//! From what people train and share to what is served: Hugging Face folders to GGUF, LoRA adapters merged or converted,
//! NF4 read and written.
//!
//! [`convert()`] reads a folder. Every tensor of the result is a recipe: rows of the model's own tensors, under another
//! name, in another order, stacked. Recipes are read, encoded and written in pieces, so memory stays small.
//!
//! Invariant: inputs are never changed, and nothing stands under the result's name before it is whole.

mod arch;
mod config;
mod encode;
mod error;
mod folder;
mod general;
mod gguf_base;
mod json;
mod keys;
mod lora;
mod nf4;
mod pooling;
mod quantized;
mod recipe;
pub mod safetensors;
mod stream;
mod tensor;
mod transposed;
mod vocab;

pub use encode::OutType;
pub use error::ConvertError;
pub use folder::{ConvertOptions, Converted, convert};
pub use lora::{MergeOptions, convert_lora, merge_lora};
pub use nf4::{FourBit, FourBitOptions, Nested, Quantized, read_floats, to_four_bit};
pub use stream::Progress;
