//! One op, five places: kernel, launcher, cpu reference, test, bench. Kernels that do one op together share four of
//! them; an op that needs no kernel of its own has no place here.

use std::collections::BTreeSet;

use super::{report, root};

/// Kernel files that serve an op of another name: several kernels make one op, chosen by type or size.
const OP_OF_KERNEL: &[(&str, &str)] = &[
    ("attention_decode", "attention"),
    ("attention_prefill", "attention"),
    ("attention_wide", "attention"),
    ("matmul_init", "matmul"),
    ("matmul_mixed", "matmul"),
    ("moe_route", "moe"),
    ("quantize_act", "matmul"),
    ("rope_kv", "rope"),
    ("rope_latent", "rope"),
];

/// Where each op stands beside its kernels.
const PLACES: [&str; 4] = ["crates/cuda/src/ops", "crates/cpu/src/ops", "crates/cuda/tests", "benches/kernels"];

#[test]
fn every_op_stands_in_five_places() {
    let mut faults = Vec::new();
    for op in kernels().iter().map(|kernel| op_of(kernel)).collect::<BTreeSet<_>>() {
        for place in PLACES {
            let found = [format!("{place}/{op}.rs"), format!("{place}/{op}/mod.rs"), format!("{place}/{op}/main.rs")];
            if !found.iter().any(|f| root().join(f).exists()) {
                faults.push(format!("op `{op}` has no {}", found[0]));
            }
        }
    }
    report("An op is a kernel, a launcher, a cpu reference, a test and a bench:", &faults);
}

fn op_of(kernel: &str) -> &str {
    OP_OF_KERNEL.iter().find(|(name, _)| *name == kernel).map_or(kernel, |(_, op)| *op)
}

/// The names of the files `kernels/*.cu`.
fn kernels() -> BTreeSet<String> {
    let Ok(folder) = std::fs::read_dir(root().join("kernels")) else { return BTreeSet::new() };
    let names = folder.map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".cu").map(str::to_owned)).collect()
}
