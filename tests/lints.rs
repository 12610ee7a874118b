//! The test command proves formatting and lints too, so that one command says whether a change is good.

use std::process::{Command, Output};

use super::tidy::root;

/// Runs a cargo tool that a toolchain may lack; without it there is nothing to prove, unless the gate demands it.
fn tool(name: &str, args: &[&str]) {
    if !cargo(&[name, "--version"]).status.success() {
        let required = std::env::var("LLCUDA_REQUIRE_LINTS").is_ok_and(|v| v == "1");
        assert!(!required, "cargo {name} is missing: rustup component add clippy rustfmt");
        eprintln!("skipped: this toolchain has no cargo {name}");
        return;
    }
    let output = cargo(&[&[name], args].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo {name} {}` failed:\n{text}", args.join(" "));
}

fn cargo(args: &[&str]) -> Output {
    Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo runs: it is running this test")
}

#[test]
fn the_code_is_formatted() {
    tool("fmt", &["--all", "--check"]);
}

#[test]
fn clippy_has_nothing_to_say() {
    tool("clippy", &["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
}
