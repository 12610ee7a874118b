//! The documents name what the program has.

use std::process::Command;

use super::{read, report, root};
use crate::e2e::{http::get, server::Server};

#[test]
fn every_flag_of_serve_stands_in_its_document() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_llcuda")).args(["serve", "--help"]).output().expect("the binary runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let document = read("docs/flags.md".as_ref());
    let first_words = help
        .lines()
        .filter_map(|line| line.trim_start().split("--").nth(1).filter(|_| line.trim_start().starts_with('-')));
    let flags: Vec<String> = first_words
        .map(|rest| rest.split([' ', '[', ',']).next().unwrap_or_default().to_owned())
        .filter(|flag| flag != "help" && !flag.is_empty())
        .collect();
    assert!(flags.len() > 40, "only {} flags were found in\n{help}", flags.len());
    let missing: Vec<String> = flags
        .into_iter()
        .filter(|f| !document.contains(&format!("--{f}`")) && !document.contains(&format!("--{f} ")))
        .collect();
    report("Add these flags to docs/flags.md:", &missing);
}

#[test]
fn every_route_stands_in_its_document() {
    let (source, document) = (read("crates/server/src/routes/mod.rs".as_ref()), read("docs/routes.md".as_ref()));
    let routes: Vec<&str> = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(routes.len() > 10, "only {} routes were found", routes.len());
    let missing = routes.iter().filter(|route| !document.contains(&format!("{route}`")));
    report("Add these routes to docs/routes.md:", &missing.map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn every_metric_stands_in_its_document() {
    let server = Server::demo(&[]);
    let metrics = get(&server.address, "/metrics").body;
    let document = read("docs/metrics.md".as_ref());
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()?.split_once(':'));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    assert!(names.len() > 25, "only {} metrics were found in\n{metrics}", names.len());
    let missing = names.iter().filter(|name| !document.contains(&format!("`{name}`")));
    report("Add these metrics to docs/metrics.md:", &missing.map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn the_gate_runs_the_test_command_of_the_readme() {
    let (gate, readme) = (read(".ci/run".as_ref()), read("README.md".as_ref()));
    let command = gate.lines().rfind(|line| line.starts_with("cargo test")).expect(".ci/run calls cargo test");
    assert!(readme.lines().any(|line| line == command), "README.md does not name `{command}`");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let is_document = |f: &std::path::PathBuf| super::has_extension(f, &["md"]);
    for file in super::tracked_files().into_iter().filter(is_document) {
        for target in links(&read(&file)) {
            let folder = file.parent().unwrap_or("".as_ref());
            if !root().join(folder).join(&target).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    report("These links lead nowhere:", &broken);
}

/// The targets of Markdown links to files of the project.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter_map(|t| t.split('#').next()).filter(|t| !t.is_empty() && !t.contains("://"));
    files.map(str::to_owned).collect()
}
