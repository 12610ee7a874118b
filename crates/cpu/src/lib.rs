//! The reference executor: one forward pass on the CPU, computed from the weights' blocks as they lie in the file.
//!
//! Invariant: what a sequence gets does not depend on the other sequences of a step, on how its prompt was cut into
//! chunks, on where its KV blocks lie, or on the number of threads.

mod batch;
mod disjoint;
mod error;
mod executor;
mod forward;
mod kv_cache;
mod math;
mod ops;
mod options;
mod pool;
mod weights;

pub use error::CpuError;
pub use executor::CpuExecutor;
pub use options::{CpuOptions, KvType};
pub use quant::{Isa, Precision};
