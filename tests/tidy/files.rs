//! What every source file must look like.

use std::path::Path;

use super::{has_extension, read, report, tracked_files};

const MAX_LINES: usize = 800;
/// Words that say a thing is not done, or that a test does not run.
const BANNED: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];
/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "misc"];
/// Places and hosts that belong to one machine, not to the project. Written in halves, so that this file passes.
const FOREIGN: &[&str] = &[concat!("/work", "/"), concat!("/ro", "ot/"), concat!("/home", "/")];

#[test]
fn every_rust_file_says_what_it_holds() {
    let faults: Vec<String> = tracked_files()
        .into_iter()
        .filter(|f| has_extension(f, &["rs"]) && !f.starts_with("crates/gguf/fuzz"))
        .filter(|f| !read(f).starts_with("//!"))
        .map(|f| f.display().to_string())
        .collect();
    report("Begin each file with `//!` and what it holds:", &faults);
}

#[test]
fn no_file_is_too_long() {
    let mut faults = Vec::new();
    for file in tracked_files().into_iter().filter(|f| has_extension(f, &["rs", "cu", "cuh", "py"])) {
        let num_lines = read(&file).lines().count();
        if num_lines > MAX_LINES {
            faults.push(format!("{} has {num_lines} lines", file.display()));
        }
    }
    report(&format!("Split files of more than {MAX_LINES} lines by idea:"), &faults);
}

#[test]
fn nothing_is_left_undone_or_unnamed() {
    let mut faults = Vec::new();
    for file in tracked_files() {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&stem.as_ref()) {
            faults.push(format!("{}: name it after what it holds", file.display()));
        }
        if has_extension(&file, &["rs"]) && !file.starts_with("tests/tidy") {
            let text = read(&file);
            for word in BANNED.iter().filter(|w| text.contains(**w)) {
                faults.push(format!("{}: `{word}`", file.display()));
            }
        }
    }
    report("Finish it or leave it out:", &faults);
}

#[test]
fn nothing_names_a_machine() {
    let text_files = |f: &&std::path::PathBuf| {
        has_extension(f, &["rs", "cu", "cuh", "py", "md", "toml", "sh", "json"]) || f.extension().is_none()
    };
    let mut faults = Vec::new();
    for file in tracked_files().iter().filter(text_files) {
        let text = read_lossy(file);
        for place in FOREIGN.iter().filter(|p| text.contains(**p)) {
            faults.push(format!("{}: `{place}`", file.display()));
        }
    }
    report("The project speaks of itself alone:", &faults);
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(super::root().join(path)).unwrap_or_default()).into_owned()
}
