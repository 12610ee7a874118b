//! Files that cannot be served end the process with an error that says why.

use gguf::{Builder, GgmlType, Value};

use super::server::command;

fn serve_fails_with(file: &[u8], words: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, file).expect("room for a small file");
    let output = command().args(["serve", "--port", "0", "-m"]).arg(&path).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "served: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[test]
fn a_file_that_is_no_gguf() {
    serve_fails_with(b"PK\x03\x04 a zip file", &["not a GGUF file"]);
}

#[test]
fn an_empty_file() {
    serve_fails_with(b"", &["not a GGUF file"]);
}

#[test]
fn an_architecture_that_we_lack() {
    let file = Builder::new().value("general.architecture", Value::String("rwkv9".into())).build();
    serve_fails_with(&file, &["rwkv9", "llama", "qwen3"]);
}

#[test]
fn a_truncated_file() {
    let whole = Builder::new().tensor_f32("token_embd.weight", &[32, 4], &[0.5; 128]).build();
    serve_fails_with(&whole[..whole.len() - 64], &["token_embd.weight", "truncated"]);
}

#[test]
fn a_type_that_is_not_known() {
    let mut file = Builder::new().tensor("w", &[32], GgmlType::Q8_0, vec![0; 34]).build();
    // The type id follows the one dimension; 8 is Q8_0.
    let at = file.windows(4).rposition(|w| w == 8_u32.to_le_bytes()).expect("the type id");
    file[at..at + 4].copy_from_slice(&99_u32.to_le_bytes());
    serve_fails_with(&file, &["`w`", "99"]);
}

#[test]
fn a_missing_file_and_an_unknown_flag() {
    for (args, word) in [
        (["serve", "-m", "/nonexistent/model.gguf"], "/nonexistent/model.gguf"),
        (["serve", "--demo", "--frobnicate"], "--frobnicate"),
    ] {
        let output = command().args(args).output().expect("the binary starts");
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = command().args(["serve", "--demo", "--port", &port]).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&port) && said.contains("--port"), "{said}");
}

#[test]
fn a_gpu_that_is_not_there() {
    let mut serve = command();
    // The driver shows no GPU then, whatever the machine has.
    serve.env("CUDA_VISIBLE_DEVICES", "").args(["serve", "--demo", "--port", "0", "--device", "cuda"]);
    let output = serve.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--device cpu"), "{said}");
}
