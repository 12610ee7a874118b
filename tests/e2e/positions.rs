//! Models with a learned vector for each position: no request is longer, whatever the flags ask for.

use std::path::Path;

use gguf::{Array, Builder, Gguf, Value};
use serde_json::{Value as Json, json};

use super::{
    http::{get, post},
    server::Server,
};

/// The golden GPT-2 of 128 positions, with a vocabulary.
fn gpt2() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data/gpt2.gguf");
    let gguf = Gguf::open(&path).expect("this model lies in the repository");
    let num_tokens = gguf.tensor("token_embd.weight").expect("an embedding").shape[1];
    let texts = (0..num_tokens).map(|i| format!("<{i}>")).collect();
    let mut file = Builder::new()
        .value("tokenizer.ggml.model", Value::String("llama".into()))
        .value("tokenizer.ggml.tokens", Value::Array(Array::String(texts)))
        .value("tokenizer.ggml.scores", Value::Array(Array::Float(vec![0.0; num_tokens])))
        .value("tokenizer.ggml.token_type", Value::Array(Array::Int(vec![1; num_tokens])));
    for (key, value) in gguf.metadata().iter() {
        file = file.value(key, value.clone());
    }
    for tensor in gguf.tensors() {
        file = file.tensor(&tensor.name, &tensor.shape, tensor.ggml_type, gguf.data(tensor).to_vec());
    }
    file.build()
}

#[test]
fn a_context_beyond_the_positions_is_cut() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("gpt2.gguf");
    std::fs::write(&path, gpt2()).expect("room for a small file");
    let model = format!("--model={}", path.display());
    let server = Server::start(&model, &["--device", "cpu", "--ctx-size", "1024"], &[]);
    let props: Json = serde_json::from_str(&get(&server.address, "/props").body).expect("JSON");
    assert_eq!(props["default_generation_settings"]["n_ctx"], 128, "{props}");
    // The last position is reached, and none behind it.
    let body = json!({ "prompt": vec![3; 100], "n_predict": 1000, "ignore_eos": true }).to_string();
    let answer: Json = serde_json::from_str(&post(&server.address, "/completion", &body).body).expect("JSON");
    assert_eq!(answer["tokens_predicted"], 28, "{answer}");
    let body = json!({ "prompt": vec![3; 128], "n_predict": 1 }).to_string();
    assert_eq!(post(&server.address, "/completion", &body).status, 400);
}
