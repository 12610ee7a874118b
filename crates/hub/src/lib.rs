//! Models from Hugging Face or a URL: found, downloaded, checked, kept where other tools find them too.
//!
//! The cache has the layout of `huggingface_hub`: `models--USER--MODEL/{blobs,refs,snapshots}`. A download is resumed
//! where it broke off, its SHA-256 is compared with the hub's, and only a whole file gets its name. Repositories' file
//! lists are hostile: names that lead out of the cache are refused.

mod cache;
mod checkpoint;
mod checksum;
mod choose;
mod client;
mod config;
mod download;
mod error;
mod fetch;
mod listing;
mod repo;

pub use cache::CachedModel;
pub use config::HubConfig;
pub use error::HubError;
pub use fetch::{Hub, Peek, RemoteFile};
pub use repo::ModelRef;

/// Told how a download goes; all methods may stay as they are.
pub trait Progress {
    /// A file begins; `done` of its `total` bytes are there already.
    fn start(&mut self, name: &str, done: u64, total: Option<u64>) {
        let _ = (name, done, total);
    }
    /// So many more bytes are there.
    fn advance(&mut self, num_bytes: u64) {
        let _ = num_bytes;
    }
    /// The file is there.
    fn finish(&mut self) {}
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {}
