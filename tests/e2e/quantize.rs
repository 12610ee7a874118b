//! `quantize`: a smaller file that still answers; `imatrix`: what matters in it.

use std::path::Path;

use serde_json::Value;

use super::{
    http::post,
    server::{Server, command},
};

/// What the command says; `Err` is what it says where it fails.
fn quantize(args: &[&str]) -> Result<String, String> {
    let output = command().arg("quantize").args(args).output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

#[test]
fn a_quantized_model_is_smaller_and_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (demo, small) = (file("crates/demo/demo.gguf"), folder.path().join("small.gguf").display().to_string());
    let refused = quantize(&[&demo, &small, "Q5_K_M"]).expect_err("it is quantized already");
    assert!(refused.contains("is Q8_0 already") && refused.contains("--allow-requantize"), "{refused}");
    let table = quantize(&["--allow-requantize", &demo, &small, "Q5_K_M", "2"]).expect("a file");
    for word in ["blk.0.attn_v.weight", "Q5_K", "Q6_K", "8.51", "root mean square error", "small.gguf"] {
        assert!(table.contains(word), "`{word}` is not in\n{table}");
    }
    let inspected = command().args(["inspect", "--json", &small]).output().expect("the binary starts");
    let json: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(json["metadata"]["general.file_type"], 17);
    let server = Server::start(&format!("--model={small}"), &[], &[]);
    let question = r#"{"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}"#;
    let answer = post(&server.address, "/v1/chat/completions", question);
    assert!(answer.body.contains("The capital of France is Paris."), "{}", answer.body);
}

#[test]
fn float_files_become_other_types_and_compute() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = file("tests/data/golden/llama3_gqa.f16.gguf");
    for file_type in ["Q3_K_M", "IQ2_XXS", "BF16"] {
        let output = folder.path().join(format!("{file_type}.gguf")).display().to_string();
        let table = quantize(&[&source, &output, file_type]).expect("a file");
        assert!(table.contains(" 16."), "{table}");
        let args = ["bench", "--json", "-m", &output, "-p", "16", "-n", "2", "-b", "1", "-r", "1"];
        let bench = command().args(args).output().expect("the binary starts");
        let json: Value = serde_json::from_slice(&bench.stdout).expect("JSON");
        let speed = json["results"][0]["tokens_per_second"].as_f64();
        assert!(speed.is_some_and(|speed| speed > 0.0), "{file_type}: {json}");
    }
}

#[test]
fn an_importance_matrix_is_made_and_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (demo, text, imatrix, output) =
        (file("crates/demo/demo.gguf"), path("text"), path("imatrix"), path("out.gguf"));
    std::fs::write(&text, "Once upon a time there was a fox. She lived in a forest. ".repeat(40)).expect("a file");
    let run = |extra: &[&str]| {
        let args = ["imatrix", "-m", &demo, "-f", &text, "-o", &imatrix, "-c", "64", "--chunks", "3"];
        command().args(args).args(extra).output().expect("the binary starts")
    };
    let made = run(&[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("42 tensors, 3 chunks"), "{made:?}");
    let again = run(&[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists; pass --overwrite"), "{again:?}");
    quantize(&["--allow-requantize", "--imatrix", &imatrix, &demo, &output, "IQ3_XXS"]).expect("a file");
    let inspected = command().args(["inspect", "--json", &output]).output().expect("the binary starts");
    let json: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(json["metadata"]["quantize.imatrix.entries_count"], 42);
    assert_eq!(json["metadata"]["quantize.imatrix.chunks_count"], 3);
    assert_eq!(json["metadata"]["quantize.imatrix.dataset"], text);
}

#[test]
fn a_dry_run_writes_nothing_and_words_are_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, output) = (file("tests/data/golden/llama3_gqa.f16.gguf"), folder.path().join("a.gguf"));
    let output = output.display().to_string();
    let table = quantize(&["--dry-run", &source, &output, "IQ4_XS"]).expect("a table");
    assert!(table.contains("IQ4_") && !Path::new(&output).exists(), "{table}");
    for (args, expected) in [
        (&[source.as_str(), &output, "Q9"][..], "`Q9` is no file type; there are F32"),
        (&[&source, &source, "Q8_0"], "is the input"),
        (&["--tensor-type", "ffn=Q9", &source, &output, "Q8_0"], "`Q9` is no tensor type"),
        (&["--imatrix", &source, &source, &output, "Q8_0"], "is no importance matrix"),
        (&["missing.gguf", &output, "Q8_0"], "cannot quantize `missing.gguf`"),
    ] {
        let error = quantize(args).expect_err("an error");
        assert!(error.contains(expected), "{error}");
    }
    assert!(!Path::new(&output).exists());
}
