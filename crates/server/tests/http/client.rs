//! The least HTTP client that the tests need.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value as Json;

/// Far more than anything takes: a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The chunks of a stream, and whether `[DONE]` ended it.
    pub(crate) fn chunks(&self) -> (Vec<Json>, bool) {
        let mut events: Vec<&str> = self.text().lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let done = events.last() == Some(&"[DONE]");
        events.truncate(events.len() - usize::from(done));
        (events.into_iter().map(|event| serde_json::from_str(event).expect("JSON")).collect(), done)
    }
}

/// Asserts that an answer is an error of OpenAI's shape, with this status, and these words in its message.
#[track_caller]
pub(crate) fn assert_error(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["code"], status, "{error}");
    assert!(error["type"].is_string(), "{error}");
    let message = error["message"].as_str().expect("a message");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in `{message}`");
    }
}

/// A connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { reader: BufReader::new(stream) }
    }

    /// Sends bytes as they are; the server may have closed the connection already.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.send_raw(&[head.as_bytes(), b"\r\n", body].concat());
    }

    /// The status and the headers of an answer; its body follows.
    pub(crate) fn read_head(&mut self) -> (u16, Vec<(String, String)>) {
        let status = self.read_line().expect("an answer");
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
        let mut headers = Vec::new();
        while let Some(line) = self.read_line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a header");
            headers.push((name.to_owned(), value.to_owned()));
        }
        (status, headers)
    }

    pub(crate) fn read_answer(&mut self) -> Answer {
        let (status, headers) = self.read_head();
        let mut body = Vec::new();
        if find(&headers, "transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk() {
                body.extend(chunk);
            }
        } else {
            let len = find(&headers, "content-length").map_or(0, |n| n.parse().expect("a length"));
            body.resize(len, 0);
            self.reader.read_exact(&mut body).expect("the whole body");
        }
        Answer { status, headers, body }
    }

    /// The next chunk of a body that comes in chunks; `None` after the last one, or when the server has cut it off.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let len = usize::from_str_radix(&self.read_line()?, 16).expect("a length");
        let mut chunk = vec![0; len];
        self.reader.read_exact(&mut chunk).ok()?;
        self.read_line()?;
        (len > 0).then_some(chunk)
    }

    /// What is left until the server closes the connection.
    pub(crate) fn read_to_end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it too.
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }

    fn read_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
