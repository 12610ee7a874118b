//! The commands that serve nothing: `inspect` and `bench`.

use std::path::Path;

use gguf::{
    Builder,
    Value::{Float, String as Text, Uint},
};
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
    assert_eq!(
        (&json["files"], &json["types"][0]["type"], &json["adapter"]),
        (&1.into(), &"Q8_0".into(), &Value::Null)
    );
}

#[test]
fn inspect_shows_adapters_and_splits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, file: Builder| {
        std::fs::write(folder.path().join(name), file.build()).expect("room for a small file");
        folder.path().join(name).display().to_string()
    };
    let lora = Builder::new()
        .value("general.type", Text("adapter".into()))
        .value("adapter.lora.alpha", Float(16.0))
        .tensor_f32("blk.0.ffn_up.weight.lora_a", &[4, 8], &[0.0; 32])
        .tensor_f32("blk.0.ffn_up.weight.lora_b", &[8, 6], &[0.0; 48]);
    let path = write("lora.gguf", lora);
    let tables = output(&["inspect", &path]);
    assert!(tables.contains("LoRA adapter, rank 8, alpha 16, scale 2: 1 x ffn_up.weight"), "{tables}");
    let json: Value = serde_json::from_str(&output(&["inspect", "--json", &path])).expect("JSON");
    assert_eq!(json["adapter"]["scale"], 2.0);

    let part = |no: u64, tensor: &str| {
        let head = Builder::new().value("split.no", Uint(no)).value("split.count", Uint(2));
        head.value("split.tensors.count", Uint(2)).tensor_f32(tensor, &[2], &[0.0; 2])
    };
    let path = write("m-00001-of-00002.gguf", part(0, "a"));
    write("m-00002-of-00002.gguf", part(1, "b"));
    let tables = output(&["inspect", &path]);
    assert!(tables.contains("in 2 files") && tables.contains("not served by llcuda"), "{tables}");
    let row = tables.lines().find(|line| line.starts_with("| b ")).expect("the tensor of the second file");
    assert!(row.ends_with("   2 |"), "{row}");
}

#[test]
fn bench_gives_speeds_and_the_same_hash_each_time() {
    let run = || -> Value {
        let text = output(&["bench", "--json", "-p", "40", "-n", "4", "-b", "1,3", "-d", "20", "-r", "1", "--engine"]);
        serde_json::from_str(&text).expect("JSON")
    };
    let (first, second) = (run(), run());
    let results = first["results"].as_array().expect("a list of results");
    assert_eq!(results.len(), 5, "{first}");
    for (a, b) in results.iter().zip(second["results"].as_array().expect("a list of results")) {
        assert!(a["tokens_per_second"].as_f64().is_some_and(|speed| speed > 0.0), "{a}");
        assert_eq!((&a["test"], &a["hash"]), (&b["test"], &b["hash"]));
    }
}

fn golden(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name).display().to_string()
}

#[test]
fn recommend_names_a_mix_that_fits_and_the_commands_for_it() {
    let file = golden("llama3_gqa.f16.gguf");
    let text = output(&["recommend", &file, "--gpu", "t4", "--users", "4", "--ctx", "64", "--strategy", "minimal"]);
    for word in ["T4", "predicted", "take this", "llcuda serve -m", "-c 256 -np 4"] {
        assert!(text.contains(word), "`{word}` is not in\n{text}");
    }
    let json =
        output(&["recommend", &file, "--vram", "8G", "--users", "4", "--ctx", "64", "--strategy", "minimal", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["speeds"], &json["recommended"]["weights"]), (&"predicted".into(), &"F16".into()));
    assert!(json["loss_source"].as_str().is_some_and(|source| source.contains("WikiText-2")), "{json}");
    let own = &json["candidates"][0];
    // No layer has a window: 4 users of 64 tokens take 256 tokens' keys and values.
    assert_eq!(own["kv_bytes_needed"].as_u64(), own["kv_bytes_per_token"].as_u64().map(|n| 256 * n), "{own}");
    let size = std::fs::metadata(&file).expect("the file").len();
    let file_bytes = own["file_bytes"].as_u64().expect("a number");
    assert!(file_bytes < size && own["weight_bytes"].as_u64() >= Some(file_bytes / 2), "{own}");
}

#[test]
fn recommend_says_what_would_fit_where_nothing_does() {
    let file = golden("llama3_gqa.f16.gguf");
    let run = |args: &[&str]| {
        let output = command().args(["recommend", &file]).args(args).output().expect("the binary starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let text = run(&["--vram", "1100M", "--users", "64", "--ctx", "16000000", "--gpu", "t4", "--fit-target", "0"]);
    assert!(text.contains("Nothing fits") && text.contains("too large"), "{text}");
    assert!(run(&["--vram", "15"]).contains("GiB"));
}
