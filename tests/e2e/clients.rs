//! The real Python clients against the demo server. `tests/setup` installs them.

use std::{path::Path, process::Command};

use super::server::Server;

#[test]
fn the_openai_client_works() {
    run_client("openai_client.py", &Server::demo(&["--api-key", "secret", "-np", "16"]));
}

/// Runs a script of `tests/clients` against a server whose key is `secret`; skipped where there is no Python for it.
pub(super) fn run_client(script: &str, server: &Server) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/test-env/bin/python");
    if !python.exists() {
        let required = std::env::var("LLCUDA_REQUIRE_CLIENTS").is_ok_and(|v| v == "1");
        assert!(!required, "no Python environment: run tests/setup");
        eprintln!("skipped: no Python environment; tests/setup makes one");
        return;
    }
    let url = format!("http://{}", server.address);
    let output = Command::new(python)
        .arg(root.join("tests/clients").join(script))
        .args([&url, "secret"])
        .output()
        .expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
