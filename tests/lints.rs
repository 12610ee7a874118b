//! The test command proves formatting and lints too, so that one command says whether a change is good.

use std::{path::Path, process::Command};

fn cargo(args: &[&str]) {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("cargo runs: it is running this test");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo {}` failed:\n{text}", args.join(" "));
}

#[test]
fn the_code_is_formatted() {
    cargo(&["fmt", "--all", "--check"]);
}

#[test]
fn clippy_has_nothing_to_say() {
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
}
