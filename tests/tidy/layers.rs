//! Arrows between crates point down only, and outside crates stay where they belong.

use std::collections::BTreeMap;

use super::{read, report, root};

const MAX_LOCKED_PACKAGES: usize = 300;

/// Which of our crates a crate may name; the same table as in `crates/README.md`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("quant", &[]),
    ("gguf", &["quant"]),
    ("exec", &["types"]),
    ("sampling", &["types"]),
    ("kvcache", &["types"]),
    ("scheduler", &["kvcache", "exec", "sampling", "types"]),
    ("engine", &["scheduler", "exec", "types"]),
    ("quantize", &["gguf", "quant", "types"]),
    ("model", &["gguf", "quant"]),
    ("cpu", &["model", "exec", "sampling", "gguf", "quant", "types"]),
    ("cuda", &["model", "exec", "sampling", "gguf", "quant", "types"]),
    ("convert", &["model", "gguf", "quant"]),
    ("text", &["gguf", "types"]),
    ("server", &["engine", "text", "types"]),
    ("hub", &[]),
    ("demo", &[]),
];

/// Outside crates and the only crates of ours that may name them.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["server"]),
    ("cudarc", &["cuda"]),
    ("tokio", &["engine", "server"]),
    ("minijinja", &["text"]),
    ("prometheus", &["server"]),
    ("memmap2", &["gguf"]),
    ("ureq", &["hub"]),
    ("ring", &["hub"]),
    ("anyhow", &[]),
    ("clap", &[]),
];

#[test]
fn crates_name_only_what_lies_below() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, manifest) in manifests() {
        let Some(may) = allowed.get(name.as_str()) else {
            faults.push(format!("{name}: add it to crates/README.md and to this table"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            if allowed.contains_key(dependency.as_str()) && !may.contains(&dependency.as_str()) {
                faults.push(format!("{name} names {dependency}"));
            }
            if let Some((_, owners)) = OWNERS.iter().find(|(n, _)| *n == dependency)
                && !owners.contains(&name.as_str())
            {
                faults.push(format!("{name} names {dependency}, which belongs to {owners:?}"));
            }
        }
    }
    report("Forbidden edges:", &faults);
}

#[test]
fn every_crate_inherits_the_lints_and_describes_itself() {
    let mut faults = Vec::new();
    for (name, manifest) in manifests() {
        if !manifest.contains("[lints]\nworkspace = true") {
            faults.push(format!("{name}: no `[lints] workspace = true`"));
        }
        if !manifest.contains("\ndescription = ") {
            faults.push(format!("{name}: no description"));
        }
    }
    report("Every crate's Cargo.toml:", &faults);
}

#[test]
fn the_dependency_tree_stays_lean() {
    let num_packages = read("Cargo.lock".as_ref()).matches("[[package]]").count();
    assert!(num_packages < MAX_LOCKED_PACKAGES, "{num_packages} locked packages; the limit is {MAX_LOCKED_PACKAGES}");
}

/// Name and Cargo.toml of each crate under `crates/`.
fn manifests() -> Vec<(String, String)> {
    let folders = std::fs::read_dir(root().join("crates")).expect("crates/ is there");
    let mut found: Vec<_> = folders
        .filter_map(|entry| {
            let folder = entry.expect("a readable folder");
            let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).ok()?;
            Some((folder.file_name().to_string_lossy().into_owned(), manifest))
        })
        .collect();
    found.sort();
    found
}

/// The names in `[dependencies]` (not those of tests).
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside
            && let Some(name) = line.split(['.', '=', ' ']).next().filter(|n| !n.is_empty() && !n.starts_with('#'))
        {
            names.push(name.to_owned());
        }
    }
    names
}
