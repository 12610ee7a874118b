//! An HTTP server with the hub's routes, and faults on demand.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
}

/// What is sent back.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(crate) cut_at: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, value.to_string())
    }

    /// A file, or the part that the request's Range wants.
    pub(crate) fn file(request: &Request, content: &[u8]) -> Self {
        let Some(from) = request.headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')) else {
            return Self::new(200, content);
        };
        let from: usize = from.parse().expect("a number");
        if from >= content.len() {
            return Self::new(416, "");
        }
        let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
        Self { headers: vec![("Content-Range", range)], ..Self::new(206, &content[from..]) }
    }

    pub(crate) fn cut_at(self, num_bytes: usize) -> Self {
        Self { cut_at: Some(num_bytes), ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// Serves until it is dropped.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, requests): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (handler, requests) = (Arc::clone(&handler), Arc::clone(&requests));
                thread::spawn(move || serve(stream, handler.as_ref(), &requests));
            }
        });
        Self { port, seen }
    }

    /// A hub with the repository `user/model` that holds these files.
    pub(crate) fn hub(files: &[(&str, &[u8])]) -> Self {
        let files: Vec<(String, Vec<u8>)> = files.iter().map(|(name, c)| ((*name).to_owned(), c.to_vec())).collect();
        Self::start(move |request| repository(request, &files))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests for files, in order.
    pub(crate) fn downloads(&self) -> Vec<Request> {
        let seen = self.seen.lock().expect("no test panicked in it");
        seen.iter().filter(|request| !request.path.starts_with("/api/")).cloned().collect()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no test panicked in it").clone()
    }
}

fn serve(stream: TcpStream, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let request = Request { path, headers: headers.collect() };
    seen.lock().expect("no test panicked in it").push(request.clone());
    drop(send(stream, &handler(&request)));
}

fn send(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", answer.body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body[..answer.cut_at.unwrap_or(answer.body.len())])?;
    stream.shutdown(Shutdown::Both)
}

fn repository(request: &Request, files: &[(String, Vec<u8>)]) -> Answer {
    match request.path.as_str() {
        "/api/models/user/model/refs" => Answer::json(&refs()),
        path if path.starts_with("/api/models/user/model/tree/") => {
            Answer::json(&files.iter().map(|(name, content)| entry(name, content)).collect())
        }
        path => {
            let name = path.strip_prefix(&format!("/user/model/resolve/{COMMIT}/"));
            match files.iter().find(|(n, _)| Some(n.as_str()) == name) {
                Some((_, content)) => Answer::file(request, content),
                None => Answer::new(404, "Entry not found"),
            }
        }
    }
}

pub(crate) fn refs() -> Value {
    let other = "f".repeat(40);
    json!({ "branches": [
        { "name": "../../evil", "ref": "refs/heads/x", "targetCommit": "../../evil" },
        { "name": "other", "ref": "refs/heads/other", "targetCommit": other },
        { "name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT },
    ], "tags": [] })
}

/// A file of the list as the hub shows those in large-file storage.
pub(crate) fn entry(name: &str, content: &[u8]) -> Value {
    let lfs = json!({ "oid": sha256(content), "size": content.len(), "pointerSize": 135 });
    json!({ "type": "file", "path": name, "oid": "a".repeat(40), "size": content.len(), "lfs": lfs })
}

pub(crate) fn sha256(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that no two places share.
pub(crate) fn content(num_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(num_bytes).collect()
}
