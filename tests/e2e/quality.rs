//! `perplexity` and `eval-kl`: what a model knows of a text, and what quantization took from it.

use std::path::Path;

use serde_json::Value;

use super::server::command;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

fn json(args: &[&str]) -> Value {
    let output = command().args(args).arg("--json").output().expect("the binary starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_model_is_less_surprised_by_its_own_language_and_by_any_batch_alike() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (demo, known, strange) = (file("crates/demo/demo.gguf"), path("known"), path("strange"));
    let story = "Once upon a time there was a fox. She lived in a forest. One day she met a bear. ";
    std::fs::write(&known, story.repeat(12)).expect("a file");
    std::fs::write(&strange, "qz jx vw kq zx jq wv xk ".repeat(40)).expect("a file");
    let measure = |text: &str, batch: &str| {
        json(&["perplexity", "-m", &demo, "-f", text, "-c", "64", "--chunks", "3", "-b", batch])
    };
    let (alone, together, strange) = (measure(&known, "1"), measure(&known, "3"), measure(&strange, "3"));
    assert_eq!((&alone["tokens"], &alone["chunks"]), (&Value::from(3 * 31), &Value::from(3)));
    let number = |value: &Value| value["perplexity"].as_f64().expect("a number");
    // The CPU computes a sequence alike in every batch; only the order of the sum differs.
    assert!((number(&alone) - number(&together)).abs() < 1e-9, "{alone} {together}");
    assert!(number(&alone) > 1.0 && 3.0 * number(&alone) < number(&strange), "{alone} {strange}");
}

#[test]
fn a_file_does_not_differ_from_itself_and_fewer_bits_differ_more() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (demo, text) = (file("crates/demo/demo.gguf"), path("text"));
    std::fs::write(&text, "Once upon a time there was a fox. She lived in a forest. ".repeat(20)).expect("a file");
    let mut means = Vec::new();
    for file_type in ["Q8_0", "Q5_K_M", "Q2_K"] {
        let other = path(file_type);
        if file_type == "Q8_0" {
            std::fs::copy(&demo, &other).expect("a copy");
        } else {
            let output = command().args(["quantize", "--allow-requantize", &demo, &other, file_type]).output();
            assert!(output.expect("the binary starts").status.success());
        }
        let found = json(&["eval-kl", &demo, &other, "-f", &text, "-c", "64", "--chunks", "2"]);
        means.push((found["kl_mean"].as_f64().expect("a number"), found["same_top_token"].as_f64().expect("a number")));
    }
    assert_eq!(means[0], (0.0, 1.0));
    assert!(0.0 < means[1].0 && means[1].0 < means[2].0 && means[2].1 <= 1.0, "{means:?}");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = folder.path().join("text").display().to_string();
    std::fs::write(&text, "Once upon a time there was a fox. ".repeat(40)).expect("a file");
    let demo = file("crates/demo/demo.gguf");
    let refused = |args: &[&str]| {
        let output = command().args(args).output().expect("the binary starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = file("tests/data/golden/llama3_gqa.f16.gguf");
    let message = refused(&["eval-kl", &demo, &other, "-f", &text, "-c", "64"]);
    assert!(message.contains("only models with the same vocabulary"), "{message}");
    let message = refused(&["perplexity", "-m", &demo, "-f", &text, "-c", "100000"]);
    assert!(message.contains("expected --ctx-size (100000) at least"), "{message}");
    let message = refused(&["perplexity", "-m", &demo, "-f", "missing"]);
    assert!(message.contains("cannot read `missing`"), "{message}");
}
