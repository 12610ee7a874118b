//! Tokens that the model's makers want never to be chosen.

use serde_json::{Value, json};

use super::{http::post, server::Server};

/// The most probable first token behind a prompt.
fn first_token(flags: &[&str]) -> u64 {
    let server = Server::demo(flags);
    let body = json!({ "prompt": "Once upon a time", "n_predict": 1, "temperature": 0, "return_tokens": true });
    let answer: Value =
        serde_json::from_str(&post(&server.address, "/completion", &body.to_string()).body).expect("JSON");
    answer["tokens"][0].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_suppressed_token_is_not_chosen() {
    let chosen = first_token(&[]);
    let flag = format!("tokenizer.ggml.suppress_tokens=int:{chosen}");
    assert_ne!(first_token(&["--override-kv", &flag]), chosen);
}
