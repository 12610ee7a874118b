//! Which sequences run in the next step, and what becomes of its tokens.
//!
//! A step takes, in this order and under one token budget: one token of every sequence that decodes, prompt tokens of
//! running sequences, and of waiting ones that are admitted while blocks last. When blocks run out, the newest
//! sequence of the lowest priority is preempted: its blocks are freed, its tokens kept, and it runs again, from the
//! front of its priority's queue, as a longer prompt.
//!
//! A request asks for an answer, or for the vector of its prompt. An encoder's prompts are never cut: each is computed in
//! one step.
//!
//! Invariant: pure. No clock, no thread, no text, no device; the same calls give the same plans.

mod admit;
mod apply;
mod goal;
mod request;
mod schedule;
mod scheduler;
mod sequence;
mod stats;
#[cfg(test)]
mod tests;

pub use apply::OutputError;
pub use request::{Ended, FinishReason, Generation, SeqEvent, SeqRequest, Task};
pub use schedule::Step;
pub use scheduler::{Scheduler, SchedulerConfig};
pub use stats::SchedulerStats;
