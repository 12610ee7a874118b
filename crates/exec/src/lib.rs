//! The boundary between the scheduler and whatever computes: plain owned data in, plain owned data out.
//!
//! A step is a list of sequences, each with the tokens to compute now. A decode is a sequence with one token, a
//! prefill chunk one with many; no flag tells them apart. No tensor, text or wire type crosses here.
//!
//! A step can be launched before the one in flight is collected: where it needs a token that is still being chosen, its
//! plan names the row that chooses it.
//!
//! Invariant: this crate computes nothing and knows no device.

mod executor;
mod plan;
#[cfg(feature = "testing")]
pub mod testing;
mod validate;

pub use executor::{Capacity, ExecError, Executor, ModelKind, StageTime, Ticket};
pub use plan::{
    HiddenOutput, HiddenRows, SampleSpec, SampledToken, SeqOutput, SeqStep, StepOutput, StepPlan, StepTokens, Wanted,
};
