//! Files that cannot be served end the process with an error that says why.

use gguf::{Array, Builder, GgmlType, Gguf, Value};

use super::server::command;

fn serve_fails_with(file: &[u8], words: &[&str]) {
    serve_with_flags_fails_with(file, &[], words);
}

fn serve_with_flags_fails_with(file: &[u8], flags: &[&str], words: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, file).expect("room for a small file");
    let output =
        command().args(["serve", "--port", "0", "-m"]).arg(&path).args(flags).output().expect("the binary starts");
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
    serve_fails_with(&file, &["`w`", "99", "known are F32", "Q4_K"]);
    // A type that ggml gave up.
    file[at..at + 4].copy_from_slice(&33_u32.to_le_bytes());
    serve_fails_with(&file, &["`w`", "Q4_0_8_8", "the nearest type is Q4_0"]);
}

/// A sound model of one small layer, but for one tensor, and with a vocabulary of so many tokens.
fn model(num_tokens: usize, changed: &str, change: impl Fn(&str) -> Option<(Vec<usize>, f32)>) -> Vec<u8> {
    let texts = (0..num_tokens).map(|i| format!("<{i}>")).collect();
    let sizes = [("embedding_length", 8), ("block_count", 1), ("feed_forward_length", 16), ("context_length", 64)];
    let mut file = Builder::new()
        .value("general.architecture", Value::String("llama".into()))
        .value("llama.attention.head_count", Value::Uint(2))
        .value("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5))
        .value("tokenizer.ggml.model", Value::String("llama".into()))
        .value("tokenizer.ggml.tokens", Value::Array(Array::String(texts)))
        .value("tokenizer.ggml.scores", Value::Array(Array::Float(vec![0.0; num_tokens])))
        .value("tokenizer.ggml.token_type", Value::Array(Array::Int(vec![1; num_tokens])));
    for (name, size) in sizes {
        file = file.value(&format!("llama.{name}"), Value::Uint(size));
    }
    let tensors: [(&str, &[usize]); 11] = [
        ("token_embd.weight", &[8, 12]),
        ("output_norm.weight", &[8]),
        ("blk.0.attn_norm.weight", &[8]),
        ("blk.0.attn_q.weight", &[8, 8]),
        ("blk.0.attn_k.weight", &[8, 8]),
        ("blk.0.attn_v.weight", &[8, 8]),
        ("blk.0.attn_output.weight", &[8, 8]),
        ("blk.0.ffn_norm.weight", &[8]),
        ("blk.0.ffn_gate.weight", &[8, 16]),
        ("blk.0.ffn_up.weight", &[8, 16]),
        ("blk.0.ffn_down.weight", &[16, 8]),
    ];
    let mut add = |name: &str, shape: &[usize], value: f32| {
        let file_so_far = std::mem::take(&mut file);
        file = file_so_far.tensor_f32(name, shape, &vec![value; shape.iter().product()]);
    };
    for (name, shape) in tensors {
        match change(name).filter(|_| name == changed) {
            Some((shape, _)) if shape.is_empty() => {}
            Some((shape, value)) => add(name, &shape, value),
            None => add(name, shape, 0.5),
        }
    }
    if tensors.iter().all(|(name, _)| *name != changed) && !changed.is_empty() {
        add(changed, &[8], 0.5);
    }
    file.build()
}

#[test]
fn tensors_that_are_missing_extra_or_misshapen_are_named() {
    let changed = |name: &str, shape: &[usize]| model(12, name, |_| Some((shape.to_vec(), 0.5)));
    serve_fails_with(&changed("blk.0.attn_k.weight", &[]), &["blk.0.attn_k.weight", "missing"]);
    serve_fails_with(&changed("blk.0.ffn_up.weight", &[16, 8]), &["blk.0.ffn_up.weight", "[16, 8]", "[8, 16]"]);
    serve_fails_with(&changed("output_norm.weight", &[1, 8]), &["output_norm.weight", "[1, 8]", "[8]"]);
    serve_fails_with(&changed("blk.0.ssm_in.weight", &[8]), &["blk.0.ssm_in.weight", "do not belong"]);
    serve_fails_with(&changed("token_embd.weight", &[]), &["token_embd.weight", "missing"]);
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let with = |name: &str, value: f32| {
        model(12, name, |name| Some((if name.contains("norm") { vec![8] } else { vec![8, 8] }, value)))
    };
    serve_fails_with(&with("blk.0.ffn_norm.weight", f32::NAN), &["blk.0.ffn_norm.weight", "NaN", "row 0, column 0"]);
    let infinite = with("blk.0.attn_v.weight", f32::INFINITY);
    serve_with_flags_fails_with(&infinite, &["--check-tensors"], &["blk.0.attn_v.weight", "inf"]);
}

#[test]
fn scales_that_are_no_numbers_are_named() {
    // Of a whole matrix: a vector, which is always checked.
    let scale = with_tensor("blk.0.attn_q.scale", &[1], GgmlType::F32, f32::NAN.to_le_bytes().to_vec());
    serve_fails_with(&scale, &["blk.0.attn_q.scale", "NaN"]);
    // Of a block: the second row's.
    let block = |scale: [u8; 2]| [&scale[..], &[3; 32]].concat();
    let blocks = [block([0, 0x3c]), block([0, 0x7e])].concat();
    let file = with_tensor("blk.0.ssm_in.weight", &[32, 2], GgmlType::Q8_0, blocks);
    let words = ["blk.0.ssm_in.weight", "NaN", "row 1", "the scale of its block is damaged"];
    serve_with_flags_fails_with(&file, &["--check-tensors"], &words);
}

/// A sound model with one tensor more.
fn with_tensor(name: &str, shape: &[usize], ggml_type: GgmlType, data: Vec<u8>) -> Vec<u8> {
    let gguf = Gguf::from_bytes(model(12, "", |_| None)).expect("a sound file");
    let mut file = Builder::new();
    for (key, value) in gguf.metadata().iter() {
        file = file.value(key, value.clone());
    }
    for tensor in gguf.tensors() {
        file = file.tensor(&tensor.name, &tensor.shape, tensor.ggml_type, gguf.data(tensor).to_vec());
    }
    file.tensor(name, shape, ggml_type, data).build()
}

#[test]
fn a_vocabulary_of_another_model() {
    serve_fails_with(&model(13, "", |_| None), &["13 tokens", "at most 12", "token_embd.weight"]);
}

#[test]
fn metadata_can_be_overridden() {
    let sound = model(12, "", |_| None);
    let rope = "--override-kv=llama.attention.head_count=int:3";
    serve_with_flags_fails_with(&sound, &[rope], &["llama.attention.key_length"]);
    let error = "--override-kv=llama.context_length=u8:3";
    serve_with_flags_fails_with(&sound, &[error], &["int, float, bool or str"]);
}

#[test]
fn a_missing_file_and_an_unknown_flag() {
    for (args, word) in [
        (["serve", "-m", "/nonexistent/model.gguf"], "/nonexistent/model.gguf"),
        (["serve", "--demo", "--frobnicate"], "--frobnicate"),
        (["serve", "--port", "0"], "-hf USER/MODEL"),
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
