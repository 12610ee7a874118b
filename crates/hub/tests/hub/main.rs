//! A hub on this machine: downloads, what breaks them off, and what hostile answers do.

mod failures;
mod offline;
mod repositories;
mod server;
mod urls;

use std::{path::Path, time::Duration};

use hub::{Hub, HubConfig, Progress};

use server::Server;

/// A client of the test's hub that waits for nothing between tries.
fn hub(server: &Server, cache: &Path) -> Hub {
    Hub::new(config(server, cache)).expect("a sound configuration")
}

fn config(server: &Server, cache: &Path) -> HubConfig {
    HubConfig { retry_delay: Duration::ZERO, ..HubConfig::new(&server.url(), cache) }
}

/// Remembers what it was told.
#[derive(Default)]
struct Told {
    /// Name, bytes that were there, size.
    starts: Vec<(String, u64, Option<u64>)>,
    num_bytes: u64,
    num_finished: usize,
}

impl Progress for Told {
    fn start(&mut self, name: &str, done: u64, total: Option<u64>) {
        self.starts.push((name.to_owned(), done, total));
    }

    fn advance(&mut self, num_bytes: u64) {
        self.num_bytes += num_bytes;
    }

    fn finish(&mut self) {
        self.num_finished += 1;
    }
}
