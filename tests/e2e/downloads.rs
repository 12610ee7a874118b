//! A model of a hub on this machine: downloaded by the program, served, and listed.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Output,
    thread,
};

use serde_json::Value;

use super::{
    http::get,
    server::{Server, command},
};

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// Serves the demo model as `user/demo:Q8_0`; gives the hub's address.
fn start_hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|stream| drop(answer(stream))));
    url
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    lines.map_while(Result::ok).find(String::is_empty);
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    // As `git hash-object crates/demo/demo.gguf` says.
    let (file, oid) = (demo_file(), git_hash());
    let (status, body) = match path.as_str() {
        "/api/models/user/demo/refs" => {
            (200, format!(r#"{{"branches":[{{"name":"main","targetCommit":"{COMMIT}"}}]}}"#).into_bytes())
        }
        p if p.starts_with("/api/models/user/demo/tree/") => {
            let size = file.len();
            (200, format!(r#"[{{"type":"file","path":"demo-Q8_0.gguf","oid":"{oid}","size":{size}}}]"#).into_bytes())
        }
        p if p == format!("/user/demo/resolve/{COMMIT}/demo-Q8_0.gguf") => (200, file),
        _ => (404, Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

fn demo_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/demo/demo.gguf")
}

fn demo_file() -> Vec<u8> {
    std::fs::read(demo_path()).expect("the demo model")
}

fn git_hash() -> String {
    let output = std::process::Command::new("git").arg("hash-object").arg(demo_path()).output().expect("git runs");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn run(hub: &str, cache: &Path, args: &[&str]) -> Output {
    let mut serve = command();
    serve.env("HF_ENDPOINT", hub).env("HF_HUB_CACHE", cache).env_remove("LLAMA_CACHE").env("NO_PROXY", "127.0.0.1");
    serve.args(args).output().expect("the binary starts")
}

#[test]
fn a_model_of_the_hub_is_downloaded_served_and_listed() {
    let (hub, cache) = (start_hub(), tempfile::tempdir().expect("a temporary folder"));
    let folder = cache.path().display().to_string();
    let environment =
        [("HF_ENDPOINT", hub.as_str()), ("HF_HUB_CACHE", &folder), ("LLAMA_CACHE", ""), ("NO_PROXY", "127.0.0.1")];
    let server = Server::start("--hf-repo=user/demo:Q8_0", &["-c", "64"], &environment);
    let models: Value = serde_json::from_str(&get(&server.address, "/v1/models").body).expect("JSON");
    assert_eq!(models["data"][0]["id"], "user/demo:Q8_0");
    let listed = run(&hub, cache.path(), &["-cl"]);
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(text.contains("user/demo") && text.contains("demo-Q8_0.gguf"), "{text}");
}

#[test]
fn a_model_that_is_not_there_ends_the_start() {
    let (hub, cache) = (start_hub(), tempfile::tempdir().expect("a temporary folder"));
    for (args, words) in [
        (&["-hf", "user/other", "--port", "0"][..], ["user/other", "HF_TOKEN"]),
        (&["-hf", "user/demo:Q4_0", "--port", "0"], ["Q4_0", "demo-Q8_0.gguf"]),
        (&["-hf", "user/demo", "--offline", "--port", "0"], ["user/demo", "--offline"]),
        (&["-hf", "user/../demo"], ["USER/MODEL", "user/../demo"]),
        (&["-hf", "user/demo", "-hff", "../x.gguf", "--port", "0"], ["../x.gguf", "file name"]),
    ] {
        let output = run(&hub, cache.path(), args);
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    }
}
