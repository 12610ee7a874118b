//! Kernels from source to launchable: `kernels/` inside this binary, NVRTC, the disk cache, packs.
//!
//! [`Kernels::load`] takes each file from the first place that has it: a pack made by `llcuda kernels build` (users
//! need nothing but the driver), the disk cache, NVRTC. What a pack or the cache holds is used only when its key (a
//! hash of source, headers, options and target) is that of the sources in this binary, and its checksum is right.

mod cache;
mod compile;
mod compiled;
mod hash;
mod library;
mod note;
mod nvrtc;
mod pack;
mod ptxas;
mod sources;
mod target;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use compile::{Built, Compiler, Job, Worker, compile_job};
pub use compiled::Compiled;
pub use library::{Kernels, Summary};
pub(crate) use note::Note;
pub use nvrtc::Nvrtc;
pub use pack::Pack;
pub use ptxas::KernelResources;
pub(crate) use sources::{Header, MIXED};
pub use sources::{SOURCES, Source, all_sources};
pub use target::Target;
