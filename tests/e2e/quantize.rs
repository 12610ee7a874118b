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
fn importance_matrices_are_written_in_both_formats_kept_and_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, text) = (file("tests/data/golden/llama3_gqa.f16.gguf"), path("text"));
    std::fs::write(&text, "the quick brown fox jumps over the lazy dog. ".repeat(40)).expect("a file");
    let imatrix = |args: &[&str]| {
        let output = command().arg("imatrix").args(args).output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    };
    let of_text = |out: &str, more: &[&str]| {
        let base = ["-m", &source, "-f", &text, "-c", "16", "-o", out];
        imatrix(&[&base[..], more].concat()).expect("a file")
    };
    let all = path("all.gguf");
    let said = of_text(&all, &["--chunks", "6", "-b", "32", "--save-frequency", "2", "--output-frequency", "4"]);
    assert!(said.contains("6 chunks"), "{said}");
    let saved: Vec<bool> = [2, 3, 4, 6].map(|n| Path::new(&format!("{all}.at_{n}")).exists()).into();
    assert_eq!(saved, [true, false, true, true]);
    // The same in two parts, of which one has the older format, and with steps that cut chunks.
    let (first, second, merged) = (path("first.gguf"), path("second.dat"), path("merged.gguf"));
    of_text(&first, &["--chunks", "4", "-b", "5"]);
    of_text(&second, &["--chunk", "4", "--chunks", "2", "--output-format", "dat"]);
    let said = imatrix(&["--in-file", &first, "--in-file", &second, "-c", "16", "-o", &merged]).expect("a file");
    assert!(said.contains("6 chunks"), "{said}");
    let means = |path: &str| quantize::Imatrix::read(Path::new(path)).expect("a sound file");
    let (expected, found) = (means(&all), means(&merged));
    let name = "blk.1.ffn_down.weight";
    let pairs = || expected.get(name).expect("an entry").iter().zip(found.get(name).expect("an entry"));
    assert!(pairs().all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1e-6)), "{:?}", pairs().collect::<Vec<_>>());
    assert_eq!((expected.len(), found.len(), found.datasets.len()), (14, 14, 2));
    // The output's inputs too.
    let output = path("output.gguf");
    of_text(&output, &["--chunks", "1", "--process-output"]);
    assert!(means(&output).get("output.weight").is_some());
    for (args, expected) in [
        (&["-m", &source, "-f", &text, "-o", &text, "--overwrite"][..], "is an input"),
        (&["--in-file", &text, "-o", &path("x")], "is no importance matrix"),
        (&["-m", &source, "-f", &text, "-c", "16", "--chunk", "1000", "-o", &path("x")], "--chunk 1000 leaves none"),
        (&["-o", &path("x")], "--model"),
    ] {
        let error = imatrix(args).expect_err("an error");
        assert!(error.contains(expected) && !Path::new(&path("x")).exists(), "{error}");
    }
}

#[test]
fn all_flags_of_llama_quantize_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, output, types, imatrix) =
        (file("tests/data/golden/llama3_gqa.f16.gguf"), path("out.gguf"), path("types"), path("imatrix"));
    std::fs::write(&types, "attn_q=Q6_K\nffn_down=Q5_K token_embd=Q8_0").expect("a file");
    let mut sums = quantize::Sums::new(1);
    let mut inputs = types::InputSums::default();
    let model = gguf::Gguf::open(Path::new(&source)).expect("a sound file");
    for name in ["blk.1.attn_q.weight", "blk.1.ffn_up.weight"] {
        let tensor = model.tensor(name).expect("a tensor");
        inputs.tensor(name, tensor.shape[0], 1).counts[0] = 1;
    }
    sums.add(&inputs).expect("the first");
    sums.write(Path::new(&imatrix), quantize::ImatrixFormat::Gguf, false).expect("a file");
    let base = ["--tensor-type", "attn_q=Q8_0", "--tensor-type-file", &types, "--prune-layers", "0", "--keep-split"];
    let more = ["--override-kv", "llama.context_length=int:99", "--max-buffer-size", "64", "--imatrix", &imatrix];
    let last = ["--exclude-weights", "ffn_up", &source, &output, "Q4_K_S"];
    let table = quantize(&[&base[..], &more, &last].concat()).expect("a file");
    let found = gguf::Gguf::open(Path::new(&output)).expect("a sound file");
    let types: Vec<_> = ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "token_embd.weight", "blk.0.attn_k.weight"]
        .map(|name| found.tensor(name).expect("a tensor").ggml_type.name())
        .into();
    assert_eq!(types, ["Q8_0", "Q5_K", "Q8_0", "Q4_K"], "{table}");
    assert!(found.tensor("blk.1.attn_q.weight").is_none());
    let uint = |key: &str| found.metadata().uint(key).ok().flatten();
    assert_eq!(["llama.block_count", "llama.context_length"].map(uint), [Some(1), Some(99)]);
    assert_eq!(uint("quantize.imatrix.entries_count"), Some(1), "one was excluded");
    for (args, expected) in [
        (&["--prune-layers", "7"][..], "layer 7 cannot be left out: the model has 2 layers"),
        (&["--imatrix", &imatrix, "--include-weights", "nothing"], "has nothing left"),
        (&["--imatrix", &imatrix, "--include-weights", "a", "--exclude-weights", "b"], "cannot be used with"),
        (&["--tensor-type-file", &output], "cannot read"),
    ] {
        let error = quantize(&[args, &[&source, &path("x.gguf"), "Q8_0"]].concat()).expect_err("an error");
        assert!(error.contains(expected), "{error}");
    }
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
