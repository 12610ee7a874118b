//! The sampler chain and the seed-exact draw; the specification of the GPU's.
//!
//! Invariant: pure; the same logits, parameters and draw give the same token on every machine.

mod mt19937;

pub use mt19937::Mt19937;
