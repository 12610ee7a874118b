//! Signals, floods and clients that go away, on the real process.

use std::{io::BufRead, net::TcpStream};

use super::{
    http::{get, post, read_status, send},
    server::Server,
};

const STORY: &str = r#"{"messages":[{"role":"user","content":"Tell me a story."}],"stream":true,"ignore_eos":true,"max_tokens":200,"temperature":0}"#;

#[test]
fn sigterm_lets_running_streams_finish_and_exits_with_0() {
    let server = Server::demo(&[]);
    let mut stream = send(&server.address, "POST", "/v1/chat/completions", STORY);
    assert_eq!(read_status(&mut stream), 200);
    server.signal("TERM");
    let lines: Vec<String> = stream.lines().map_while(Result::ok).collect();
    assert!(lines.iter().any(|l| l.contains("[DONE]")), "the stream was cut: {:?}", lines.last());
    assert!(lines.iter().any(|l| l.contains(r#""finish_reason":"length""#)));
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_at_once_with_1() {
    let server = Server::demo(&["--drain-timeout", "600"]);
    let endless = STORY.replace("200", "1900");
    let mut streams: Vec<_> = (0..8).map(|_| send(&server.address, "POST", "/v1/chat/completions", &endless)).collect();
    assert!(streams.iter_mut().all(|stream| read_status(stream) == 200));
    server.signal("INT");
    while get(&server.address, "/health").status == 200 {}
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn thousands_of_idle_connections_disturb_nobody() {
    let server = Server::demo(&[]);
    let idle: Vec<TcpStream> = (0..8_000).map_while(|_| TcpStream::connect(&server.address).ok()).collect();
    assert!(idle.len() >= 1_000, "only {} connections could be opened", idle.len());
    let answer = post(&server.address, "/v1/completions", r#"{"prompt":"Once upon a time","max_tokens":8}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(get(&server.address, "/health").status, 200);
}

#[test]
fn a_client_that_leaves_frees_its_sequence() {
    let server = Server::demo(&["-np", "1"]);
    let mut stream = send(&server.address, "POST", "/v1/chat/completions", STORY);
    assert_eq!(read_status(&mut stream), 200);
    drop(stream);
    // The only sequence is taken until the server sees that its client has gone.
    let next = post(&server.address, "/v1/completions", r#"{"prompt":"Once","max_tokens":4}"#);
    assert_eq!(next.status, 200, "{}", next.body);
    let metrics = get(&server.address, "/metrics").body;
    let total = metrics.lines().find_map(|l| l.strip_prefix("llamacpp:tokens_predicted_total ")).expect("the counter");
    assert!(total.parse::<f64>().unwrap() < 204.0, "the abandoned answer was computed to its end: {total}");
}
