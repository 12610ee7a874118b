//! The device layout of weights: which planes a matrix has and where they lie.
//!
//! `kernels/include/quant_planes.cuh` draws the layout. A type is one file in `kernels/formats`, which says how its rows lie
//! in a file and which planes its weights become, and one line of the registry.

mod format;
mod layout;
mod registry;

pub use format::{ActivationKind, PlaneFormat};
pub(crate) use layout::CHUNK_COLS;
pub use layout::{LayoutError, PlaneLayout};
pub(crate) use registry::{FORMATS, KernelNames, MIXED_PRODUCTS, ProductNames};

#[cfg(test)]
mod tests;
