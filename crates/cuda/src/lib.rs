//! The GPU executor, and the only crate with CUDA unsafe: device, kernels, graphs, pools.

pub mod device;
mod error;
pub mod gpu;
pub mod kernels;
pub mod kv_cache;
pub mod ops;
pub mod repack;

pub use device::Device;
pub use error::CudaError;
pub use kv_cache::KvType;
