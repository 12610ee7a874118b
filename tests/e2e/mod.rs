//! The real binary over HTTP.

mod clients;
mod http;
mod lifecycle;
mod server;
mod start_up;
