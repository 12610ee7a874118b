//! The only crate with CUDA unsafe: device, kernels, graphs, pools.

pub mod repack;
