//! Prompts of 100 thousand tokens and more: they are read away from the threads that serve others, refused with both
//! numbers where they do not fit, and given up when their client leaves.

use std::io::{ErrorKind, Read};

use serde_json::{Value as Json, json};

use super::{
    http::{get, post, send},
    server::Server,
};

const CONTEXT: usize = 131_072;
const ABORTED: &str = r#"vllm:request_success_total{engine="0",finished_reason="abort""#;

/// The demo model with a context that it was not trained for, for each of two.
fn server() -> Server {
    Server::demo(&["--override-kv", "llama.context_length=int:131072", "-c", "262144", "-np", "2"])
}

fn json_of(address: &str, path: &str, body: &Json) -> (u16, Json) {
    let answer = post(address, path, &body.to_string());
    (answer.status, serde_json::from_str(&answer.body).expect("JSON"))
}

fn num_tokens(address: &str, text: &str) -> usize {
    let (status, answer) = json_of(address, "/tokenize", &json!({ "content": text, "add_special": true }));
    assert_eq!(status, 200, "{answer}");
    answer["tokens"].as_array().expect("a list").len()
}

fn metric(address: &str, name: &str) -> f64 {
    let text = get(address, "/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.rsplit(' ').next()?.parse().ok());
    value.unwrap_or(0.0)
}

/// Asks until a metric has a value.
fn await_metric(address: &str, name: &str, value: f64) {
    const TRIES: usize = 100_000;
    assert!((0..TRIES).any(|_| metric(address, name) == value), "{name} is {}", metric(address, name));
}

#[test]
fn a_prompt_over_the_context_is_counted_and_refused_with_both_numbers() {
    let server = server();
    let prompt = "cat ".repeat(CONTEXT + 100);
    let expected = num_tokens(&server.address, &prompt);
    assert!(expected > CONTEXT);
    for path in ["/completion", "/v1/completions"] {
        let (status, answer) = json_of(&server.address, path, &json!({ "prompt": prompt }));
        assert_eq!(status, 400, "{answer}");
        let error = &answer["error"];
        assert_eq!((&error["n_prompt_tokens"], &error["n_ctx"]), (&json!(expected), &json!(CONTEXT)), "{error}");
        let message = error["message"].as_str().expect("a text");
        assert!(message.contains(&expected.to_string()) && message.contains(&CONTEXT.to_string()), "{message}");
    }
}

#[test]
fn others_are_answered_while_a_text_is_read_and_its_client_may_leave() {
    let server = server();
    let text = "cat7 dog, \u{e9}t\u{e9}! ".repeat(1_000_000);
    let body = json!({ "content": text }).to_string();
    let mut reader = send(&server.address, "POST", "/tokenize", &body);
    for _ in 0..3 {
        assert_eq!(get(&server.address, "/health").status, 200);
        let (status, answer) = json_of(&server.address, "/completion", &json!({ "prompt": "Once", "n_predict": 2 }));
        assert_eq!(status, 200, "{answer}");
    }
    reader.get_mut().set_nonblocking(true).expect("a socket");
    let early = reader.read(&mut [0]).expect_err("no answer yet");
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    assert_eq!(metric(&server.address, ABORTED), 0.0);
    drop(reader);
    await_metric(&server.address, ABORTED, 1.0);
    // Texts of this length are read a few at a time: there is room again.
    assert!(num_tokens(&server.address, &"cat ".repeat(100_000)) >= 100_000);
}

#[test]
fn a_long_prompt_is_computed_beside_others_until_its_client_leaves() {
    let server = server();
    let body = json!({ "prompt": "cat ".repeat(100_000), "n_predict": 1, "stream": true }).to_string();
    let reader = send(&server.address, "POST", "/completion", &body);
    await_metric(&server.address, "llamacpp:requests_processing ", 1.0);
    let (status, answer) = json_of(&server.address, "/completion", &json!({ "prompt": "Once", "n_predict": 2 }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(metric(&server.address, "llamacpp:requests_processing "), 1.0, "it is not computed to its end yet");
    drop(reader);
    await_metric(&server.address, ABORTED, 1.0);
    await_metric(&server.address, "llamacpp:requests_processing ", 0.0);
}
