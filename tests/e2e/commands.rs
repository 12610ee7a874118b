//! The commands that serve nothing: `inspect` and `bench`.

use std::path::Path;

use serde_json::Value;

use super::server::command;

fn output(args: &[&str]) -> String {
    let output = command().args(args).output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn demo_file() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/demo/demo.gguf").display().to_string()
}

#[test]
fn inspect_shows_metadata_and_tensors() {
    let tables = output(&["inspect", &demo_file()]);
    for word in ["GGUF v3", "56 tensors", "8.51 bits per weight", "llama.block_count", "blk.5.ffn_down.weight"] {
        assert!(tables.contains(word), "`{word}` is not in\n{tables}");
    }
    let json: Value = serde_json::from_str(&output(&["inspect", "--json", &demo_file()])).expect("JSON");
    assert_eq!(json["metadata"]["general.architecture"], "llama");
    assert_eq!(json["metadata"]["tokenizer.ggml.tokens"].as_array().map(Vec::len), Some(2048));
    assert_eq!(json["tensors"].as_array().map(Vec::len), Some(56));
}

#[test]
fn bench_gives_speeds_and_the_same_hash_each_time() {
    let run = || -> Value {
        let text = output(&["bench", "--json", "-p", "40", "-n", "4", "-b", "1,3", "-d", "20", "-r", "1"]);
        serde_json::from_str(&text).expect("JSON")
    };
    let (first, second) = (run(), run());
    let results = first["results"].as_array().expect("a list of results");
    assert_eq!(results.len(), 3, "{first}");
    for (a, b) in results.iter().zip(second["results"].as_array().expect("a list of results")) {
        assert!(a["tokens_per_second"].as_f64().is_some_and(|speed| speed > 0.0), "{a}");
        assert_eq!((&a["test"], &a["logits_hash"]), (&b["test"], &b["logits_hash"]));
    }
}
