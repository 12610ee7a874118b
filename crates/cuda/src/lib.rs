//! The GPU executor, and the only crate with CUDA unsafe: device, kernels, graphs, pools.

mod bandwidth;
mod batch;
mod buffers;
pub mod device;
mod error;
mod executor;
mod forward;
pub mod gpu;
mod graphs;
pub mod kernels;
pub mod kv_cache;
mod memory_plan;
mod observer;
pub mod ops;
mod options;
mod profile;
pub mod repack;
mod stage;
mod steps;
mod supported;
mod weights;

pub use bandwidth::copy_bandwidth;
pub use device::Device;
pub use error::CudaError;
pub use executor::CudaExecutor;
pub use kv_cache::KvType;
pub use memory_plan::{DeviceMemory, MemoryPlan, MemorySplit, workspace_bytes};
pub use options::{CudaOptions, LoneToken};
pub use supported::missing_feature;
pub use weights::weight_bytes;
