//! Tests of the whole project: the real binary over HTTP, the house rules, formatting and lints.

mod e2e;
mod lints;
mod tidy;
