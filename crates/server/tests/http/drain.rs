//! The end of a server: running answers finish, new ones are refused, and what takes too long is told so.

use std::time::Duration;

use serde_json::json;

use crate::{
    client::assert_error,
    executor::{CAPACITY, gated},
    served::{Server, Setup, letter},
};

fn server_with_drain(adjust: fn(&mut server::ServerConfig)) -> (Server, exec::testing::Gate) {
    let (executor, gate) = gated(letter('a'), CAPACITY);
    (Server::with(executor, Setup { adjust: Some(adjust), ..Setup::default() }), gate)
}

#[test]
fn running_streams_finish_and_new_requests_are_refused() {
    let (mut server, gate) = server_with_drain(|config| config.drain_timeout = Duration::from_secs(600));
    let body = json!({ "prompt": "abc", "max_tokens": 3, "stream": true });
    let mut running = server.send("/v1/completions", &body);
    assert!(gate.wait_launched().is_some());
    gate.release();
    assert_eq!(running.read_head().0, 200);
    server.shut_down();
    let health = loop {
        let answer = server.get("/health");
        if answer.status != 200 {
            break answer;
        }
    };
    assert_error(&health, 503, &["shutting down"]);
    assert_error(&server.post("/v1/completions", &body), 503, &["shutting down"]);
    assert_eq!(server.get("/metrics").status, 200, "the last figures count");
    drop(gate);
    let mut text = String::new();
    while let Some(chunk) = running.read_chunk() {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(text.contains(r#""finish_reason":"length""#) && text.ends_with("data: [DONE]\n\n"), "{text}");
    let address = server.address;
    server.wait();
    assert!(std::net::TcpStream::connect(address).is_err(), "it still listens");
}

#[test]
fn what_takes_too_long_fails_with_the_reason() {
    let (mut server, gate) = server_with_drain(|config| config.drain_timeout = Duration::ZERO);
    let mut running = server.send("/v1/completions", &json!({ "prompt": "abc" }));
    assert!(gate.wait_launched().is_some());
    server.shut_down();
    // The health page may tell it a little before the engine knows; a step or two may run until then.
    loop {
        let is_serving = server.get("/health").status == 200;
        if !is_serving {
            gate.release();
            if gate.wait_launched().is_none() {
                break;
            }
        }
    }
    assert_error(&running.read_answer(), 503, &["shutting down"]);
    server.wait();
}

#[test]
fn without_a_model_it_ends_at_once() {
    let (server, ready) = Server::loading(|config| config.drain_timeout = Duration::from_secs(600));
    // A connection without a request holds up nothing.
    let idle = server.client();
    server.wait();
    drop((idle, ready));
}
