//! The real binary over HTTP.

mod bad_input;
mod clients;
mod commands;
mod convert;
#[cfg(target_os = "linux")]
mod convert_aborted;
mod converted_encoders;
mod crowd;
mod downloads;
mod embeddings;
#[cfg(target_os = "linux")]
mod folders;
pub(crate) mod http;
mod hub;
mod kernels;
mod lifecycle;
mod long_prompts;
mod positions;
mod quality;
mod quantize;
#[cfg(target_os = "linux")]
mod quantize_aborted;
pub(crate) mod server;
mod start_up;
mod suppressed;
mod templates;
mod unsloth;
