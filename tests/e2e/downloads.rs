//! A model of a hub on this machine: downloaded by the program, served, and listed.

use std::path::Path;

use serde_json::Value;

use super::{
    http::get,
    hub::{self, run},
    server::Server,
};

/// Serves the demo model as `user/demo:Q8_0`; gives the hub's address.
fn start_hub() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/demo/demo.gguf");
    hub::serve("user/demo", vec![("demo-Q8_0.gguf".to_owned(), path)])
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

#[test]
fn advice_on_a_model_of_the_hub_reads_its_header_alone() {
    let (hub, cache) = (start_hub(), tempfile::tempdir().expect("a temporary folder"));
    let advise = |more: &[&str]| {
        let args = ["recommend", "-hf", "user/demo:Q8_0", "--gpu", "t4", "--users", "2", "--ctx", "64", "--json"];
        let output = run(&hub, cache.path(), &[&args[..], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let (succeeded, said) = advise(&["--strategy", "minimal"]);
    let json: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert!(succeeded);
    assert_eq!((&json["model"], &json["arch"]), (&"user/demo:Q8_0".into(), &"llama".into()));
    assert_eq!(json["recommended"]["commands"], serde_json::json!(["llcuda serve -hf user/demo:Q8_0 -c 128 -np 2"]));
    let file =
        gguf::Gguf::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/demo/demo.gguf")).expect("the model");
    assert_eq!(json["candidates"][0]["file_bytes"], file.weight_bytes());
    assert_eq!(std::fs::read_dir(cache.path()).expect("the cache").count(), 0, "nothing was downloaded");
    let (succeeded, said) = advise(&["--offline"]);
    assert!(!succeeded && said.contains("--offline"), "{said}");
}
