//! The step loop on its own OS thread: commands in, events out.
//!
//! Every request ends in exactly one [`Event::Finished`] or [`Event::Failed`]. Dropping a [`Response`] aborts its
//! request within one step.
//!
//! Invariant: no HTTP, no text, no device here; the executor is a `Box<dyn Executor>`.

mod api;
mod config;
mod engine;
mod handle;
mod inbox;
mod live;
mod pace;
mod response;
mod step_loop;
#[cfg(test)]
mod tests;

pub use api::{EngineStats, Event, FailReason, Finished, Request, StartError, SubmitError};
pub use config::EngineConfig;
pub use engine::Engine;
pub use exec::{Capacity, Executor, ModelKind, SampledToken};
pub use handle::EngineHandle;
pub use response::Response;
pub use scheduler::{FinishReason, Generation, Task};
pub use types::{Pooling, RequestId, SamplingParams, TokenId};
