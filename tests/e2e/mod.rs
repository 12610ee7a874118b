//! The real binary over HTTP.

mod clients;
mod commands;
pub(crate) mod http;
mod kernels;
mod lifecycle;
pub(crate) mod server;
mod start_up;
