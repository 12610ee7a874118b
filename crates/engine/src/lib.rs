//! The step loop on its own OS thread: commands in, events out.
//!
//! Every request ends in exactly one [`Event::Finished`] or [`Event::Failed`]. Dropping a [`Response`] aborts its
//! request within one step.
//!
//! Invariant: no HTTP, no text, no device here; the executor is a `Box<dyn Executor>`.

mod api;

pub use api::{EngineStats, Event, FailReason, FinishReason, Finished, Request, SubmitError};
