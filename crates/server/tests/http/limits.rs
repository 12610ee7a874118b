//! Bounds: bodies, the queue, time.

use std::time::Duration;

use engine::EngineConfig;
use exec::Capacity;
use serde_json::json;

use crate::{
    client::assert_error,
    executor::{CAPACITY, Scripted, gated},
    served::{EOS, Server, Setup, letter},
};

#[test]
fn larger_bodies_get_413_and_the_answer_arrives() {
    let setup = Setup { adjust: Some(|config| config.max_body_bytes = 1 << 20), ..Setup::default() };
    let server = Server::with(Scripted::new(&[letter('h'), EOS]), setup);
    let body = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(1_100_000));
    assert_error(&server.post_bytes("/completion", body.as_bytes()), 413, &["1048576"]);
    // Without an announced length it shows only while it is read.
    let mut client = server.client();
    client.send_raw(b"POST /completion HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send_raw(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
    assert_error(&client.read_answer(), 413, &["1048576"]);
    assert_eq!(server.post("/completion", &json!({ "prompt": "a" })).json()["content"], "h");
}

#[test]
fn a_full_queue_is_429_and_the_others_go_on() {
    let (executor, gate) = gated(letter('a'), Capacity { max_num_seqs: 1, ..CAPACITY });
    let engine = EngineConfig { max_waiting: 0, ..EngineConfig::default() };
    let server = Server::with(executor, Setup { engine, ..Setup::default() });
    let body = json!({ "prompt": "a", "n_predict": 2 });
    let mut running = server.send("/completion", &body);
    assert!(gate.wait_launched().is_some());
    let refused = server.post("/completion", &body);
    assert_error(&refused, 429, &["queue is full", "1"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    drop(gate);
    assert_eq!(running.read_answer().json()["content"], "aa");
}

#[test]
fn a_request_of_many_choices_takes_all_its_places_or_none() {
    let (executor, gate) = gated(letter('a'), Capacity { max_num_seqs: 1, ..CAPACITY });
    let engine = EngineConfig { max_waiting: 2, ..EngineConfig::default() };
    let server = Server::with(executor, Setup { engine, ..Setup::default() });
    assert_error(&server.post("/completion", &json!({ "prompt": "a", "n": 4 })), 429, &["3"]);
    drop(gate);
    // Those of its choices that had been accepted were aborted.
    let body = json!({ "prompt": "a", "n_predict": 1 });
    let accepted = (0..1000).any(|_| server.post("/completion", &body).status == 200);
    assert!(accepted, "the queue is still full");
}

#[test]
fn a_deadline_that_passes_is_504() {
    let setup = Setup { adjust: Some(|config| config.request_timeout = Duration::ZERO), ..Setup::default() };
    let server = Server::with(Scripted::new(&[letter('a')]), setup);
    let answer = server.post("/v1/completions", &json!({ "prompt": "a" }));
    assert_error(&answer, 504, &["deadline"]);
    assert_eq!(answer.json()["error"]["type"], "timeout_error");
}

#[test]
fn a_time_limit_holds_from_the_first_line_break_on() {
    let newline = 286;
    let server = Server::start(Scripted::new(&[letter('a'), letter('b'), newline, letter('c'), letter('d')]));
    // Without the limit the last letter would go on until the context is full.
    let answer = server.post("/completion", &json!({ "prompt": "a", "t_max_predict_ms": 1 })).json();
    assert!(answer["content"].as_str().unwrap().starts_with("ab\n"), "{answer}");
    assert_eq!((&answer["stop_type"], &answer["has_new_line"]), (&json!("limit"), &json!(true)));
}
