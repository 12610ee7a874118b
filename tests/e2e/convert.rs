//! The worked example of `docs/convert.md`, line by line: fine-tune, merge, quantize, serve, ask.

use std::path::Path;

use serde_json::Value;

use super::{
    http::post,
    hub,
    server::{Server, command},
};

/// The lines of the document's shell blocks.
fn example() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/convert.md")).expect("the document");
    let blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn the_worked_example_works() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), "tests/data/convert");
    for (name, target) in [("base", "Tiny-Llama-20K-Instruct"), ("adapter", "adapter-plain")] {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(data).join(target);
        std::os::unix::fs::symlink(target, folder.path().join(name)).expect("a link");
    }
    let (mut server, mut num_answers) = (None, 0);
    for line in example() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["llcuda", "serve", "-m", file, ..] => {
                let model = format!("--model={}", folder.path().join(file).display());
                server = Some(Server::start(&model, &[], &[]));
            }
            ["llcuda", args @ ..] => {
                let output = command().args(args).current_dir(folder.path()).output().expect("the binary starts");
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            }
            ["curl", url, "-d", ..] => {
                let body = line.split('\'').nth(1).expect("a body in quotes");
                let path = url.split_once(":8080").expect("the port of the document").1;
                let answer = post(&server.as_ref().expect("served before").address, path, body);
                let json: Value = serde_json::from_str(&answer.body).expect("JSON");
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert!(json["usage"]["completion_tokens"].as_u64() > Some(0), "{}", answer.body);
                num_answers += 1;
            }
            _ => panic!("a line that the test does not know: {line}"),
        }
    }
    assert_eq!(num_answers, 1);
}

/// The files of a folder of the test data, as a repository's.
fn files_of(name: &str) -> Vec<(String, std::path::PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convert").join(name);
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path)).collect()
}

#[test]
fn a_model_of_the_hub_is_downloaded_and_converted() {
    let mut files = files_of("Tiny-Llama-20K-Instruct");
    let other = files[0].1.clone();
    files.push(("original/consolidated.safetensors".to_owned(), other));
    let (url, folder) = (hub::serve("tiny/Tiny-Llama-20K-Instruct", files), tempfile::tempdir().expect("a folder"));
    let out = folder.path().join("a.gguf").display().to_string();
    let cache = folder.path().join("cache");
    let output = hub::run(&url, &cache, &["convert", "tiny/Tiny-Llama-20K-Instruct", "-o", &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inspected = command().args(["inspect", "--json", &out]).output().expect("the binary starts");
    let json: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(json["metadata"]["general.name"], "Tiny Llama 20K Instruct");
    assert_eq!(json["metadata"]["general.organization"], "Tiny");
    let output = hub::run(&url, &cache, &["convert", "tiny/Other", "-o", &out, "--force"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`tiny/Other` is no folder"), "{said}");
    let gguf = hub::serve("user/gguf", vec![("m.gguf".to_owned(), (&out).into())]);
    let output = hub::run(&gguf, &cache, &["convert", "user/gguf", "-o", &out, "--force"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`user/gguf` has no safetensors"), "{said}");
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convert/tiny-gemma3");
    let convert = |args: &[&str]| {
        let output = command().arg("convert").arg(&model).args(args).current_dir(folder.path()).output();
        let output = output.expect("the binary starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(convert(&["-o", "a.gguf"]).0);
    let (done, said) = convert(&["-o", "a.gguf"]);
    assert!(!done && said.contains("`a.gguf` exists"), "{said}");
    assert!(convert(&["-o", "a.gguf", "--outtype", "q8_0", "--force"]).0);
    let (done, said) = convert(&["-o", "missing/a.gguf"]);
    assert!(!done && said.contains("cannot write `missing/a.gguf.part`"), "{said}");
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 1);
}
