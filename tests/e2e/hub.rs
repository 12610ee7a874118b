//! A hub on this machine with one repository.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};

use super::server::command;

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// The repository's name and its files: their names and where they lie.
struct Repository {
    name: &'static str,
    files: Vec<(String, PathBuf)>,
}

/// Serves files as a repository; gives the hub's address.
pub(crate) fn serve(name: &'static str, files: Vec<(String, PathBuf)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let repository = Repository { name, files };
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|stream| drop(repository.answer(stream))));
    url
}

/// Runs the binary with this hub.
pub(crate) fn run(hub: &str, cache: &Path, args: &[&str]) -> Output {
    let mut command = command();
    command.env("HF_ENDPOINT", hub).env("HF_HUB_CACHE", cache).env_remove("LLAMA_CACHE").env("NO_PROXY", "127.0.0.1");
    command.args(args).output().expect("the binary starts")
}

impl Repository {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        lines.map_while(Result::ok).find(String::is_empty);
        let path = first.split(' ').nth(1).unwrap_or_default();
        let body = self.body(path);
        let (status, body) = body.map_or((404, Vec::new()), |body| (200, body));
        write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(&body)
    }

    fn body(&self, path: &str) -> Option<Vec<u8>> {
        let name = self.name;
        if let Some(question) = path.strip_prefix(&format!("/api/models/{name}/")) {
            let answer = match question.split('/').next() {
                Some("refs") => json!({"branches": [{"name": "main", "targetCommit": COMMIT}]}),
                Some("tree") => self.tree(),
                _ => return None,
            };
            return Some(answer.to_string().into_bytes());
        }
        let wanted = path.strip_prefix(&format!("/{name}/resolve/{COMMIT}/"))?;
        let (_, path) = self.files.iter().find(|(name, _)| name == wanted)?;
        fs::read(path).ok()
    }

    fn tree(&self) -> Value {
        let entry = |(name, path): &(String, PathBuf)| {
            let size = fs::metadata(path).expect("a file").len();
            json!({"type": "file", "path": name, "oid": git_hash(path), "size": size})
        };
        self.files.iter().map(entry).collect()
    }
}

/// As `git hash-object` says.
fn git_hash(path: &Path) -> String {
    let output = Command::new("git").args(["hash-object", "--no-filters"]).arg(path).output().expect("git runs");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}
