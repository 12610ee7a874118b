//! Embeddings from the real binary: an encoder against its golden file, a decoder that embeds beside writing.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::{Value as Json, json};

use super::{
    clients::run_client,
    http::{get, post},
    server::{Server, command},
};

/// An encoder with a vocabulary of letters, see `tests/golden`.
pub(super) fn encoder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/data/{name}.gguf"))
}

fn serve(name: &str, flags: &[&str]) -> Server {
    Server::start(&format!("--model={}", encoder(name).display()), &[&["--device", "cpu"], flags].concat(), &[])
}

/// A tensor of a golden file.
pub(super) fn golden(name: &str, tensor: &str) -> Vec<u32> {
    let bytes = std::fs::read(encoder(name).with_extension("golden.safetensors")).expect("it lies in the repository");
    let file = SafeTensors::deserialize(&bytes).expect("a golden file");
    let data = file.tensor(tensor).expect("a tensor of it").data().to_vec();
    data.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

pub(super) fn golden_floats(name: &str, tensor: &str) -> Vec<f32> {
    golden(name, tensor).into_iter().map(f32::from_bits).collect()
}

pub(super) fn ask(server: &Server, path: &str, body: &Json) -> Json {
    let answer = post(&server.address, path, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

pub(super) fn floats(json: &Json) -> Vec<f32> {
    json.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

#[track_caller]
pub(super) fn assert_near(found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= bound, "the vectors differ by {worst}");
}

#[test]
fn an_encoder_gives_its_golden_vectors() {
    for name in ["bert", "xlm_roberta", "nomic_bert", "gemma_embedding", "modern_bert"] {
        // No flag is needed; keys and values are kept in half precision.
        let server = serve(name, &[]);
        let ids: Vec<_> = (0..4).map(|i| golden(name, &format!("embed{i}.ids"))).collect();
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": ids, "model": "any" }));
        let num_tokens: usize = ids.iter().map(Vec::len).sum();
        assert_eq!(answer["usage"]["prompt_tokens"], num_tokens);
        for i in 0..4 {
            let expected = golden_floats(name, &format!("embed{i}.mean_l2"));
            assert_near(&floats(&answer["data"][i]["embedding"]), &expected, 1e-3);
        }
        let raw = ask(&server, "/embedding", &json!({ "content": ids[2], "embd_normalize": -1 }));
        assert_near(&floats(&raw[0]["embedding"][0]), &golden_floats(name, "embed2.mean"), 3e-3);
        let models: Json = serde_json::from_str(&get(&server.address, "/v1/models").body).expect("JSON");
        assert_eq!(models["models"][0]["capabilities"], json!(["embedding"]));
        let refused = post(&server.address, "/v1/chat/completions", r#"{"messages":[{"role":"user","content":"a"}]}"#);
        assert_eq!(refused.status, 501, "{}", refused.body);
        assert!(refused.body.contains("encoder"), "{}", refused.body);
    }
}

#[test]
fn flags_choose_the_pooling_and_the_norm() {
    let name = "bert";
    let ids = golden(name, "embed1.ids");
    for (pooling, norm, tensor) in [("cls", "2", "cls_l2"), ("last", "2", "last_l2"), ("cls", "-1", "cls")] {
        let server = serve(name, &["--pooling", pooling, "--embd-normalize", norm]);
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": ids }));
        let expected = golden_floats(name, &format!("embed1.{tensor}"));
        assert_near(&floats(&answer["data"][0]["embedding"]), &expected, 3e-3);
    }
    let server = serve(name, &["--pooling", "none"]);
    let answer = ask(&server, "/embeddings", &json!({ "input": ids }));
    let rows: Vec<f32> = answer[0]["embedding"].as_array().expect("rows").iter().flat_map(floats).collect();
    assert_near(&rows, &golden_floats(name, "embed1.hidden"), 3e-3);
    let refused = post(&server.address, "/v1/embeddings", &json!({ "input": ids }).to_string());
    assert_eq!((refused.status, refused.body.contains("not OAI compatible")), (400, true), "{}", refused.body);
}

#[test]
fn a_text_must_fit_into_a_step() {
    let server = serve("bert", &["--ubatch-size", "64"]);
    let refused = post(&server.address, "/v1/embeddings", &json!({ "input": "ab ".repeat(40) }).to_string());
    assert_eq!(refused.status, 400, "{}", refused.body);
    for word in ["82 tokens", "too large to process", "physical batch size", "--ubatch-size", "64"] {
        assert!(refused.body.contains(word), "`{word}` is not in {}", refused.body);
    }
    // Without the flag a step has room for the model's context.
    let text = "ab ".repeat(40);
    assert_eq!(ask(&serve("bert", &[]), "/v1/embeddings", &json!({ "input": text }))["usage"]["total_tokens"], 82);
}

/// The texts of another golden file, through its WordPiece tokenizer.
#[test]
fn texts_become_their_golden_vectors() {
    let shared = std::env::var_os("LLCUDA_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    for name in ["bert", "nomic"] {
        let golden = shared.join(format!("golden/{name}.json"));
        if !golden.exists() {
            let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
            assert!(!required, "{} is missing", golden.display());
            eprintln!("{name}: skipped");
            continue;
        }
        let about: Json = serde_json::from_slice(&std::fs::read(&golden).expect("a readable file")).expect("JSON");
        let texts: Vec<_> = about["embeddings"].as_array().expect("texts").iter().map(|text| &text["text"]).collect();
        let model = format!("--model={}", shared.join(format!("golden/{name}.f16.gguf")).display());
        let server = Server::start(&model, &["--device", "cpu"], &[]);
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": texts }));
        let file = std::fs::read(golden.with_extension("golden.safetensors")).expect("it lies beside");
        let file = SafeTensors::deserialize(&file).expect("a golden file");
        for (i, entry) in answer["data"].as_array().expect("vectors").iter().enumerate() {
            let expected = file.tensor(&format!("embed{i}.mean_l2")).expect("a tensor of it").data().to_vec();
            let expected: Vec<_> = expected.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
            assert_near(&floats(&entry["embedding"]), &expected, 1e-3);
        }
    }
}

/// As qwen3-embedding's files do it: the model says that the last token's state counts, and no flag is needed.
#[test]
fn a_decoder_whose_file_names_a_pooling_embeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let model = format!("--model={}", folder.join("llama3_gqa.f16.gguf").display());
    let file = std::fs::read(folder.join("llama3_gqa.golden.safetensors")).expect("it lies in the repository");
    let file = SafeTensors::deserialize(&file).expect("a golden file");
    let words = |tensor: &str| -> Vec<[u8; 4]> { file.tensor(tensor).expect("a tensor").data().as_chunks().0.to_vec() };
    // Steps of 16 tokens: the prompt of 80 comes in chunks.
    let flags = ["--device", "cpu", "--override-kv", "llama.pooling_type=int:3", "--ubatch-size", "16"];
    let server = Server::start(&model, &flags, &[]);
    for prompt in ["short", "medium", "long"] {
        let ids: Vec<_> = words(&format!("{prompt}.ids")).into_iter().map(u32::from_le_bytes).collect();
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": ids }));
        let found = floats(&answer["data"][0]["embedding"]);
        let states: Vec<_> = words(&format!("{prompt}.hidden_last")).into_iter().map(f32::from_le_bytes).collect();
        // The last row is behind the final norm.
        let last = &states[states.len() - found.len()..];
        let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert_near(&found, &last.iter().map(|x| x / norm).collect::<Vec<_>>(), 1e-3);
    }
}

#[test]
fn a_decoder_embeds_where_it_is_asked_to() {
    let plain = Server::demo(&[]);
    let refused = post(&plain.address, "/v1/embeddings", r#"{"input":"Hello"}"#);
    assert_eq!((refused.status, refused.body.contains("--embeddings")), (501, true), "{}", refused.body);
    let server = Server::demo(&["--embeddings", "--pooling", "last"]);
    let embed =
        |input: &str| floats(&ask(&server, "/v1/embeddings", &json!({ "input": input }))["data"][0]["embedding"]);
    let first = embed("Once upon a time");
    assert_near(&[first.iter().map(|x| x * x).sum::<f32>()], &[1.0], 1e-5);
    assert_near(&embed("Once upon a time"), &first, 0.0);
    assert_ne!(embed("Once upon a dog"), first);
    let text = ask(&server, "/completion", &json!({ "prompt": "Once upon a time", "n_predict": 8, "temperature": 0 }));
    assert_eq!(text["tokens_predicted"], 8);
}

#[test]
fn the_openai_client_embeds() {
    let server = serve("bert", &["--api-key", "secret", "-np", "8"]);
    run_client("openai_embeddings.py", &server);
    let server = Server::demo(&["--api-key", "secret", "--embedding", "--pooling", "mean", "-np", "8"]);
    run_client("openai_embeddings.py", &server);
}

#[test]
fn an_encoder_is_inspected_and_cannot_write() {
    let output = command().arg("inspect").arg(encoder("nomic_bert")).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("nomic-bert (encoder): 2 layers"), "{text}");
    assert!(text.contains(", pooling mean\n"), "{text}");
    for args in [["bench", "-m"], ["recommend", "--vram=15G"]] {
        let output = command().args(args).arg(encoder("nomic_bert")).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("`nomic-bert` models are encoders"), "{said}");
    }
    let output = command().args(["serve", "--embedding", "--pooling", "rank", "-m"]).arg(encoder("bert")).output();
    let output = output.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--pooling rank is not supported yet"), "{said}");
}
