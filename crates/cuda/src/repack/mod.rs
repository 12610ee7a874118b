//! The device layout of weights: which planes a matrix has, where they lie, and the host's reference of what they hold.
//!
//! `kernels/include/quant_formats.cuh` draws the layout; `kernels/matmul_repack.cu` fills it on the device from a file's
//! blocks. What [`pack`] writes and [`value`] reads is the specification of both.

mod blocks;
mod format;
mod host;
mod layout;

pub use format::{ActivationKind, PlaneFormat};
pub use host::{pack, value};
pub(crate) use layout::CHUNK_COLS;
pub use layout::{LayoutError, PlaneLayout};

#[cfg(test)]
mod tests;
