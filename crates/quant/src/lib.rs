//! Block formats of GGUF weights, one file each: decoding, encoding, and dot products with them.
//!
//! [`GgmlType`] names every type a GGUF file can hold; [`Format`] is one that we can compute with. A [`Panel`] holds a
//! few rows of a matrix, decoded once; [`Panel::multiply`] takes its dot products with many tokens' [`Activations`].
//!
//! Invariant: a dot product has the same bits on every [`Isa`], in every tile and beside any other tokens. Sums run
//! over sixteen lanes in one fixed order ([`LANES`]), so batching never changes a result.

mod activations;
mod block;
mod encode;
mod float16;
mod format;
mod formats;
mod ggml_type;
pub mod grids;
mod isa;
mod kernels;
mod panel;
mod prefetch;
mod superblock;

pub use activations::Activations;
pub use float16::{f16_to_f32, f32_to_f16};
pub use format::{Format, UnsupportedType};
pub use ggml_type::GgmlType;
pub use isa::{Isa, Kernel};
pub use panel::{Layout, Panel, Precision, dot_floats};
pub use prefetch::prefetch;
pub use superblock::{
    LANES, Lanes, MAPPED_BYTES, Superblock, as_floats, as_floats_mut, as_lanes, as_lanes_mut, untouched,
    untouched_lanes,
};
