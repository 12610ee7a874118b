//! `cargo bench --bench kernels [OP...]`: every operator on the shapes of real models, beside the device's limits.

#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod attention;
mod embed;
mod gated_act;
mod input_sums;
mod matmul;
mod moe;
mod norm;
mod pool;
mod rope;
mod sampling;
mod support;

use support::Bench;

/// The operators' benches by name.
type Run = fn(&Bench) -> Result<(), cuda::CudaError>;
const BENCHES: &[(&str, Run)] = &[
    ("attention", attention::run),
    ("embed", embed::run),
    ("gated_act", gated_act::run),
    ("input_sums", input_sums::run),
    ("matmul", matmul::run),
    ("moe", moe::run),
    ("norm", norm::run),
    ("pool", pool::run),
    ("rope", rope::run),
    ("sampling", sampling::run),
];

fn main() {
    // `cargo bench` and `cargo test` pass flags of their own harness: names are what does not start with a dash.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let bench = match Bench::open() {
        Ok(bench) => bench,
        Err(error) => return println!("skipped: {error}"),
    };
    for (name, run) in BENCHES.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name)) {
        if let Err(error) = run(&bench) {
            println!("{name}: {error}");
        }
    }
}
