//! Clients that crawl or say nothing at all.

use std::time::Duration;

use serde_json::json;

use crate::{
    client::{Client, assert_error},
    executor::Scripted,
    served::{EOS, Server, Setup, letter},
};

/// A server that waits for no client longer than a tenth of a second.
fn impatient() -> Server {
    let adjust = |config: &mut server::ServerConfig| {
        config.client_timeout = Duration::from_millis(100);
        config.drain_timeout = Duration::from_secs(600);
    };
    Server::with(Scripted::new(&[letter('h'), EOS]), Setup { adjust: Some(adjust), ..Setup::default() })
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let server = impatient();
    for bytes in [&b""[..], b"POST /comp", b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Le"] {
        let mut client = server.client();
        client.send_raw(bytes);
        // Returns when the server closes the connection.
        let rest = client.read_to_end();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
}

#[test]
fn a_body_that_does_not_go_on_is_408() {
    let server = impatient();
    let mut client = server.client();
    client.send_raw(b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"prompt\":");
    assert_error(&client.read_answer(), 408, &["0.1 seconds"]);
}

#[test]
fn an_answer_that_is_not_taken_is_dropped() {
    let server = impatient();
    // More than the buffers of both sockets hold.
    let body = json!({ "content": "a".repeat(16 << 20) }).to_string();
    let mut client = server.client();
    client.send("POST", "/tokenize", &[], body.as_bytes());
    assert_eq!(client.read_head().0, 200);
    // The end of the server waits for its connections, far longer than this test may take.
    let address = server.address;
    server.wait();
    assert!(std::net::TcpStream::connect(address).is_err());
    drop(client);
}

#[test]
fn idle_connections_disturb_nobody() {
    let server = Server::start(Scripted::new(&[letter('h'), EOS]));
    let idle: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let half: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = server.client();
            client.send_raw(b"POST /completion HTTP/1.1\r\nContent-Length: 50\r\n\r\n{\"prom");
            client
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(server.post("/completion", &json!({ "prompt": "a" })).json()["content"], "h");
    }
    drop((idle, half));
}

#[test]
fn large_bodies_that_crawl_leave_room_for_small_ones() {
    let setup = Setup { adjust: Some(|config| config.max_body_bytes = 1 << 20), ..Setup::default() };
    let server = Server::with(Scripted::new(&[letter('h'), EOS]), setup);
    let part = [b"{\"prompt\":\"".as_slice(), &vec![b'a'; 1_000_000]].concat();
    let crawl = || {
        let mut client = server.client();
        client.send_raw(b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 1000100\r\n\r\n");
        client.send_raw(&part);
        client
    };
    let whole = [part.as_slice(), b"\"}"].concat();
    // All large bodies together may take four times the largest one.
    let mut crawling: Vec<Client> = Vec::new();
    let refused = loop {
        crawling.push(crawl());
        let answer = server.post_bytes("/completion", &whole);
        if answer.status != 400 {
            break answer;
        }
    };
    assert_error(&refused, 503, &["large requests"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.post("/completion", &json!({ "prompt": "a" })).json()["content"], "h");
    drop(crawling);
}
