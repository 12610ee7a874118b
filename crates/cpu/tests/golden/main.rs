//! Tiny models of every architecture against what `transformers` computes for them in single precision.
//!
//! The two models in the repository's `tests/data` are always tested; the others where `LLCUDA_TEST_DATA` (default: a
//! folder `shared/data` beside the repository) has them.

mod batching;
mod bounds;
mod data;
mod embeddings;
mod executor;
mod experts;
mod input_sums;
mod logits;
mod refused;
mod runner;
