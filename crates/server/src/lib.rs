//! HTTP: routes, wire types, streams, keys, limits and metrics. The only crate that knows HTTP or wire JSON.
//!
//! A body is parsed once into engine requests; one place ([`generate`]) drives them and turns tokens into text for
//! every route, streamed or not.
//!
//! Invariant: whatever a client sends costs no other client anything but its share of the machine.

mod access;
mod config;
mod connections;
mod embed;
mod error;
mod generate;
mod heavy;
mod metrics;
mod routes;
mod slow;
mod state;
mod stream;
mod wire;

pub use config::{Defaults, ServerConfig};
pub use connections::{BindError, Bound};
pub use state::{Model, ModelInfo, Ready};
