//! Streams of every route.

use exec::testing::{FakeExecutor, Fault};
use serde_json::{Value as Json, json};

use crate::{
    client::assert_error,
    executor::{CAPACITY, Scripted, gated},
    served::{EOS, Server, byte, letter},
};

const CHAT: &str = "/v1/chat/completions";

fn hi(more: &Json) -> Json {
    let mut body = json!({ "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    body
}

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

#[test]
fn a_chat_stream_has_openais_order() {
    let answer = hello().post(CHAT, &hi(&json!({})));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let (chunks, done) = answer.chunks();
    assert!(done && chunks.iter().all(|c| c["object"] == "chat.completion.chunk" && c["id"] == chunks[0]["id"]));
    let choices: Vec<&Json> = chunks.iter().map(|c| &c["choices"][0]).collect();
    let deltas: Vec<&Json> = choices.iter().map(|c| &c["delta"]).collect();
    let role = json!({ "role": "assistant", "content": null });
    assert_eq!(deltas, [&role, &json!({ "content": "h" }), &json!({ "content": "i" }), &json!({})]);
    let reasons: Vec<&Json> = choices.iter().map(|c| &c["finish_reason"]).collect();
    assert_eq!(reasons, [&Json::Null, &Json::Null, &Json::Null, &json!("stop")]);
    assert!(chunks.iter().all(|c| c.get("usage").is_none()));
    assert_eq!(chunks[3]["timings"]["predicted_n"], 3);
}

#[test]
fn usage_comes_last_when_asked_for() {
    let (chunks, done) = hello().post(CHAT, &hi(&json!({ "stream_options": { "include_usage": true } }))).chunks();
    let last = chunks.last().unwrap();
    assert!(done && last["choices"] == json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    let body = json!({ "prompt": "hi", "stream": true, "n": 2, "stream_options": { "include_usage": true } });
    let (chunks, done) = hello().post("/v1/completions", &body).chunks();
    let usage = &chunks.last().unwrap()["usage"];
    assert!(done && usage["completion_tokens"] == 6 && usage["prompt_tokens"] == 3, "{usage}");
}

#[test]
fn choices_come_side_by_side() {
    let (chunks, done) = hello().post(CHAT, &hi(&json!({ "n": 2 }))).chunks();
    assert!(done);
    for index in 0..2 {
        let own: Vec<&Json> = chunks.iter().map(|c| &c["choices"][0]).filter(|c| c["index"] == index).collect();
        assert_eq!(own[0]["delta"]["role"], "assistant");
        let text: String = own.iter().filter_map(|c| c["delta"]["content"].as_str()).collect();
        assert_eq!((text.as_str(), &own.last().unwrap()["finish_reason"]), ("hi", &json!("stop")));
    }
}

#[test]
fn characters_are_never_split_and_stop_words_never_begun() {
    let script = [byte(0xF0), byte(0x9F), byte(0x99), byte(0x82), letter('s'), letter('t'), letter('u'), letter('s')];
    let server = Server::start(Scripted::new(&script));
    let (chunks, _) = server.post(CHAT, &hi(&json!({ "stop": ["st!", "us"] }))).chunks();
    let texts: Vec<&str> = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(texts, ["🙂", "st"]);
}

#[test]
fn logprobs_and_timings_come_with_their_tokens() {
    let more = json!({ "logprobs": true, "top_logprobs": 1, "timings_per_token": true });
    let (chunks, _) = hello().post(CHAT, &hi(&more)).chunks();
    let entry = &chunks[1]["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&entry["token"], &entry["top_logprobs"][0]["token"]), (&json!("h"), &json!("h")));
    assert_eq!(chunks[2]["timings"]["predicted_n"], 2);
}

#[test]
fn a_completion_stream_has_texts_and_offsets() {
    let body = json!({ "prompt": "a", "stream": true, "logprobs": 1 });
    let (chunks, done) = hello().post("/v1/completions", &body).chunks();
    assert!(done && chunks.iter().all(|c| c["object"] == "text_completion"));
    let choices: Vec<&Json> = chunks.iter().map(|c| &c["choices"][0]).collect();
    assert_eq!((&choices[0]["text"], &choices[1]["text"], &choices[2]["text"]), (&json!("h"), &json!("i"), &json!("")));
    assert_eq!(choices[1]["logprobs"]["text_offset"], json!([1]));
    assert_eq!(choices[2]["finish_reason"], "stop");
}

#[test]
fn a_native_stream_ends_without_done() {
    let body = json!({ "prompt": "a", "stream": true, "return_tokens": true, "n_probs": 1 });
    let (chunks, done) = hello().post("/completion", &body).chunks();
    assert!(!done);
    assert_eq!((&chunks[0]["content"], &chunks[0]["tokens"]), (&json!("h"), &json!([letter('h')])));
    assert_eq!((&chunks[1]["tokens_predicted"], &chunks[1]["tokens_evaluated"]), (&json!(2), &json!(2)));
    assert_eq!(chunks[1]["completion_probabilities"][0]["token"], "i");
    let last = chunks.last().unwrap();
    assert_eq!((&last["stop"], &last["content"], &last["stop_type"]), (&json!(true), &json!(""), &json!("eos")));
}

#[test]
fn an_error_before_the_first_token_is_plain() {
    let answer = hello().post(CHAT, &hi(&json!({ "n": 99 })));
    assert_error(&answer, 400, &["'n'", "99", "16"]);
    let server = Server::start(FakeExecutor::new(CAPACITY).failing_at(0, Fault::Launch));
    assert_error(&server.post(CHAT, &hi(&json!({}))), 500, &["launch failed on purpose"]);
}

#[test]
fn an_error_within_a_stream_is_its_last_event() {
    let executor = FakeExecutor::new(CAPACITY).choosing_from(vec![types::TokenId(letter('a'))]);
    let server = Server::start(executor.failing_at(3, Fault::Collect));
    let answer = server.post(CHAT, &hi(&json!({})));
    let (chunks, done) = answer.chunks();
    assert!(!done && answer.status == 200);
    let error = &chunks.last().unwrap()["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!(500), &json!("server_error")));
    // The engine is gone for good, and says so.
    assert_error(&server.get("/health"), 503, &["engine has stopped"]);
    assert_error(&server.post(CHAT, &hi(&json!({}))), 503, &["engine has stopped"]);
}

#[test]
fn silence_is_broken_by_pings() {
    let (executor, gate) = gated(letter('a'), CAPACITY);
    let server = Server::start(executor);
    let mut client = server.send(CHAT, &hi(&json!({ "sse_ping_interval": 1, "max_tokens": 2 })));
    gate.release();
    assert_eq!(client.read_head().0, 200);
    let mut text = String::new();
    while !text.ends_with("\n\n:\n\n") {
        text += &String::from_utf8(client.read_chunk().expect("the stream goes on")).unwrap();
    }
    gate.release();
    while let Some(chunk) = client.read_chunk() {
        text += &String::from_utf8(chunk).unwrap();
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}
