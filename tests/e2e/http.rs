//! The least HTTP client that the tests need.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// `GET path`.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    read(send(address, "GET", path, ""))
}

/// `POST path` with a JSON body.
pub(crate) fn post(address: &str, path: &str, body: &str) -> Answer {
    read(send(address, "POST", path, body))
}

/// Sends a request and leaves its answer to be read.
pub(crate) fn send(address: &str, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let len = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    );
    write!(stream, "{head}Content-Length: {len}\r\n\r\n{body}").expect("the server reads");
    BufReader::new(stream)
}

/// Reads the head of an answer; the body follows in `reader`.
pub(crate) fn read_status(reader: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer");
    let status =
        line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("not a status line: {line}"));
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).expect("a header");
    }
    status
}

fn read(mut reader: BufReader<TcpStream>) -> Answer {
    let status = read_status(&mut reader);
    let mut body = Vec::new();
    reader.read_to_end(&mut body).expect("a body");
    Answer { status, body: String::from_utf8(body).expect("UTF-8") }
}
