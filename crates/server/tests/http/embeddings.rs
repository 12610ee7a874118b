//! `/v1/embeddings` and llama-server's own `/embedding`.

use engine::Pooling;
use exec::{Capacity, ModelKind, testing::FakeExecutor};
use serde_json::{Value as Json, json};
use types::TokenId;

use crate::{
    client::assert_error,
    executor::{CAPACITY, gated},
    served::{BOS, Server, Setup, letter},
};

const ENCODER: Capacity = Capacity { kind: ModelKind::Encoder, ..CAPACITY };

fn server(capacity: Capacity, pooling: Option<Pooling>) -> Server {
    Server::with(FakeExecutor::new(capacity), Setup { pooling, ..Setup::default() })
}

fn encoder(pooling: Pooling) -> Server {
    server(ENCODER, Some(pooling))
}

/// The hidden states of a prompt.
fn states(capacity: Capacity, ids: &[u32]) -> Vec<Vec<f32>> {
    FakeExecutor::new(capacity).reference_hidden(&ids.iter().copied().map(TokenId).collect::<Vec<_>>())
}

fn unit(values: &[f32]) -> Vec<f32> {
    let norm = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    values.iter().map(|x| (f64::from(*x) / norm) as f32).collect()
}

fn floats(json: &Json) -> Vec<f32> {
    json.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

fn ask(server: &Server, path: &str, body: &Json) -> Json {
    let answer = server.post(path, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn inputs_are_texts_tokens_or_lists_of_those() {
    let server = encoder(Pooling::Cls);
    let ab = [BOS, letter('a'), letter('b')];
    let expected = |ids: &[u32]| unit(&states(ENCODER, ids)[0]);
    let check = |input: Json, prompts: &[&[u32]]| {
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": input, "model": "mine" }));
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("mine")));
        let num_tokens: usize = prompts.iter().map(|ids| ids.len()).sum();
        assert_eq!(answer["usage"], json!({ "prompt_tokens": num_tokens, "total_tokens": num_tokens }));
        let data = answer["data"].as_array().unwrap();
        assert_eq!(data.len(), prompts.len());
        for (i, (entry, ids)) in data.iter().zip(prompts).enumerate() {
            assert_eq!((&entry["object"], &entry["index"]), (&json!("embedding"), &json!(i)));
            assert_eq!(floats(&entry["embedding"]), expected(ids), "{input}");
        }
    };
    check(json!("ab"), &[&ab]);
    check(json!(["ab", "a"]), &[&ab, &ab[..2]]);
    check(json!([letter('a'), letter('b')]), &[&ab[1..]]);
    check(json!([[letter('a')], ["a", letter('b')]]), &[&ab[1..2], &ab]);
    // Where the tokenizer adds something, an empty text has a vector.
    check(json!(""), &[&ab[..1]]);
    // More texts than run together.
    let texts = vec!["ab"; 40];
    check(json!(texts), &[&ab[..]; 40]);
}

#[test]
fn poolings_and_norms_are_as_asked_for() {
    let ids = [BOS, letter('a'), letter('b'), letter('c')];
    for capacity in [ENCODER, CAPACITY] {
        let states = states(capacity, &ids);
        let mean: Vec<_> = (0..8).map(|i| states.iter().map(|state| state[i]).sum::<f32>() / 4.0).collect();
        for (pooling, values) in
            [(Pooling::Mean, &mean), (Pooling::Cls, &states[0]), (Pooling::Last, &states[states.len() - 1])]
        {
            let server = server(capacity, Some(pooling));
            for path in ["/embedding", "/embeddings"] {
                let answer = ask(&server, path, &json!({ "content": "abc" }));
                assert_eq!((answer[0]["index"].clone(), answer.as_array().unwrap().len()), (json!(0), 1));
                assert_eq!(floats(&answer[0]["embedding"][0]), unit(values), "{pooling:?}");
            }
            let raw = ask(&server, "/embedding", &json!({ "input": "abc", "embd_normalize": -1 }));
            assert_eq!(floats(&raw[0]["embedding"][0]), *values);
        }
        let tokens = ask(&server(capacity, Some(Pooling::None)), "/embedding", &json!({ "content": ["abc", "abc"] }));
        let rows: Vec<_> = tokens[1]["embedding"].as_array().unwrap().iter().map(floats).collect();
        assert_eq!((rows, &tokens[1]["index"]), (states, &json!(1)));
    }
}

#[test]
fn base64_holds_the_same_numbers() {
    let server = encoder(Pooling::Mean);
    let ask = |format: &str| ask(&server, "/v1/embeddings", &json!({ "input": "abc", "encoding_format": format }));
    let (float, base64) = (ask("float"), ask("base64"));
    assert_eq!(base64["data"][0]["encoding_format"], "base64");
    let expected: Vec<u8> = floats(&float["data"][0]["embedding"]).iter().flat_map(|x| x.to_le_bytes()).collect();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = base64["data"][0]["embedding"].as_str().unwrap().trim_end_matches('=');
    let sextets: Vec<_> = text.chars().map(|c| alphabet.find(c).expect("base64") as u32).collect();
    let bytes = sextets.chunks(4).flat_map(|chunk| {
        let word = chunk.iter().enumerate().fold(0, |word, (i, sextet)| word | sextet << (18 - 6 * i));
        word.to_be_bytes()[1..chunk.len()].to_vec()
    });
    assert_eq!(bytes.collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_be_embedded_is_refused_with_its_reason() {
    let server = encoder(Pooling::Mean);
    let refused = |body: Json, status: u16, words: &[&str]| {
        assert_error(&server.post("/v1/embeddings", &body), status, words);
    };
    refused(json!({}), 400, &["input", "content", "must be provided"]);
    refused(json!({ "input": [] }), 400, &["'input'", "0 prompts", "2048"]);
    refused(json!({ "input": vec!["a"; 2049] }), 400, &["2049 prompts"]);
    refused(json!({ "input": [[]] }), 400, &["'input'", "empty"]);
    refused(json!({ "input": 5 }), 400, &["'input'", "5"]);
    refused(json!({ "input": [304] }), 400, &["'input'", "303", "304"]);
    refused(json!({ "input": "a", "encoding_format": "int8" }), 400, &["encoding_format", "float or base64", "int8"]);
    refused(json!({ "input": "a", "embd_normalize": -2 }), 400, &["embd_normalize", "-1", "-2"]);
    refused(json!({ "input": "a", "dimensions": 4 }), 501, &["dimensions", "4", "8 elements"]);
    assert_eq!(server.post("/v1/embeddings", &json!({ "input": "a", "dimensions": 8 })).status, 200);
    // One step takes 512 tokens, the context 1024.
    refused(json!({ "input": vec![letter('a'); 513] }), 400, &["513 tokens", "too large", "batch size", "512"]);
    refused(json!({ "input": ["a", "a".repeat(600)] }), 400, &["601 tokens", "512"]);
    refused(json!({ "input": vec![letter('a'); 1025] }), 400, &["1025 tokens", "1024"]);
    assert_eq!(server.post("/v1/embeddings", &json!({ "input": vec![letter('a'); 512] })).status, 200);
    let none = json!({ "input": "a" });
    assert_error(
        &encoder(Pooling::None).post("/v1/embeddings", &none),
        400,
        &["'none' is not OAI compatible", "--pooling"],
    );
}

#[test]
fn a_model_says_what_it_serves() {
    let capabilities = |server: &Server| server.get("/v1/models").json()["models"][0]["capabilities"].clone();
    let (encoder, plain, both) =
        (encoder(Pooling::Mean), server(CAPACITY, None), server(CAPACITY, Some(Pooling::Last)));
    assert_eq!(capabilities(&encoder), json!(["embedding"]));
    assert_eq!(capabilities(&plain), json!(["completion"]));
    assert_eq!(capabilities(&both), json!(["completion", "embedding"]));
    assert_eq!(
        (&encoder.get("/props").json()["pooling"], &plain.get("/props").json()["pooling"]),
        (&json!("mean"), &json!(null))
    );
    for path in ["/v1/embeddings", "/embedding"] {
        assert_error(
            &plain.post(path, &json!({ "input": "a" })),
            501,
            &["does not support embeddings", "--embeddings"],
        );
    }
    for path in ["/completion", "/v1/completions"] {
        assert_error(&encoder.post(path, &json!({ "prompt": "a" })), 501, &["encoder", "/v1/embeddings"]);
        assert_eq!(both.post(path, &json!({ "prompt": "a", "max_tokens": 2 })).status, 200);
    }
    let chat = json!({ "messages": [{ "role": "user", "content": "a" }] });
    assert_error(&encoder.post("/v1/chat/completions", &chat), 501, &["encoder"]);
    // A decoder embeds a prompt that fills its context.
    assert_eq!(both.post("/v1/embeddings", &json!({ "input": vec![letter('a'); 1024] })).status, 200);
    assert_error(&both.post("/v1/embeddings", &json!({ "input": vec![letter('a'); 1025] })), 400, &["1025", "1024"]);
}

#[test]
fn texts_of_one_request_leave_room_in_the_queue_and_are_aborted_with_it() {
    let capacity = Capacity { max_num_seqs: 2, ..ENCODER };
    let (executor, gate) = gated(letter('a'), capacity);
    let server = Server::with(executor, Setup { pooling: Some(Pooling::Mean), ..Setup::default() });
    let many = server.send("/v1/embeddings", &json!({ "input": vec!["abc"; 600] }));
    let plan = gate.wait_launched().expect("a step");
    assert!(plan.seqs.len() <= 2);
    // Its place is kept while a client leaves.
    let mut other = server.send("/v1/embeddings", &json!({ "input": "b" }));
    drop(many);
    drop(gate);
    let answer = other.read_answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
}
