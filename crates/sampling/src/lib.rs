//! The sampler chain and the seed-exact draw; the specification of the GPU's.
//!
//! [`Sampler::choose`] turns a row of logits into a token, [`Sampler::logprobs`] tells how probable it was. Order and
//! arithmetic are those of `llama-server`, so that the same logits, parameters and draw give the token it gives.
//!
//! Invariant: pure; the same logits, parameters and draw give the same token on every machine, and no logits, not even
//! NaN, make it panic.

mod adjust;
mod candidate;
mod chain;
mod logprobs;
mod mt19937;
mod sampler;
#[cfg(test)]
mod tests;

pub use logprobs::Logprobs;
pub use mt19937::Mt19937;
pub use sampler::Sampler;
