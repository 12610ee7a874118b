//! Requests that make no sense, on the real process: each gets a 4xx that says why, and a stream beside them goes on.

use std::io::BufRead;

use serde_json::Value as Json;

use super::{
    http::{get, post, read_status, send},
    server::Server,
};

const CHAT: &str = "/v1/chat/completions";
const STORY: &str = r#"{"messages":[{"role":"user","content":"Tell me a story."}],"stream":true,"ignore_eos":true,"max_tokens":300,"temperature":0}"#;

#[test]
fn bodies_that_are_no_requests_get_4xx() {
    let server = Server::demo(&[]);
    for (body, word) in [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        (r#"{"messages":[]}"#, "messages"),
        (r#"{"messages":"hi"}"#, "messages"),
        (r#"{"messages":[{"role":"user","content":"hi"}],"temperature":"hot"}"#, "temperature"),
        (r#"{"messages":[{"role":"user","content":"hi"}],"n":0}"#, "n"),
    ] {
        let answer = post(&server.address, CHAT, body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.body.contains(word) && answer.body.contains("\"error\""), "{body}: {}", answer.body);
    }
    assert_eq!(get(&server.address, "/health").body, r#"{"status":"ok"}"#);
}

#[test]
fn huge_prompts_disturb_no_stream() {
    let server = Server::demo(&[]);
    let alone = text(send(&server.address, "POST", CHAT, STORY));
    let beside = send(&server.address, "POST", CHAT, STORY);
    for num_words in [5_000, 20_000_000] {
        let prompt = "cat ".repeat(num_words);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
        let answer = post(&server.address, CHAT, &body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        let error = &serde_json::from_str::<Json>(&answer.body).expect("JSON")["error"];
        let (found, limit) = (error["n_prompt_tokens"].as_u64(), error["n_ctx"].as_u64());
        assert!(found >= limit && limit > Some(0), "{error}");
    }
    assert_eq!(text(beside), alone);
}

#[test]
fn a_body_over_the_limit_is_413() {
    let server = Server::demo(&[]);
    let body = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(105 << 20));
    let answer = post(&server.address, "/completion", &body);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert_eq!(get(&server.address, "/health").status, 200);
}

/// The text of a chat stream.
fn text(mut stream: impl BufRead) -> String {
    assert_eq!(read_status(&mut stream), 200);
    let lines = stream.lines().map_while(Result::ok);
    let chunks = lines.filter_map(|line| serde_json::from_str::<Json>(line.strip_prefix("data: ")?).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}
