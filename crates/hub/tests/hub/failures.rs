//! What breaks a download off, and what comes of it.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use hub::{Hub, HubConfig, HubError, ModelRef, Silent};
use serde_json::{Value, json};

use crate::{
    Told, config, hub,
    server::{Answer, Request, Server, content, entry, refs, sha256},
};

const SIZE: usize = 5 << 20;

fn model() -> ModelRef {
    "user/model".parse().expect("a sound name")
}

/// A hub whose list names `m.gguf` of `SIZE` bytes; `file` answers the n-th request for it.
fn hub_of(file: impl Fn(&Request, usize, &[u8]) -> Answer + Send + Sync + 'static) -> Server {
    let (bytes, num_requests) = (content(SIZE), AtomicUsize::new(0));
    Server::start(move |request| match request.path.as_str() {
        "/api/models/user/model/refs" => Answer::json(&refs()),
        path if path.contains("/tree/") => Answer::json(&json!([entry("m.gguf", &bytes)])),
        _ => file(request, num_requests.fetch_add(1, Ordering::SeqCst), &bytes),
    })
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    server.downloads().iter().map(|request| request.headers.get("range").cloned()).collect()
}

fn partial_of(cache: &tempfile::TempDir) -> PathBuf {
    cache.path().join("models--user--model/blobs").join(format!("{}.incomplete", sha256(&content(SIZE))))
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let server = hub_of(|request, n, bytes| {
        let whole = Answer::file(request, bytes);
        if n < 2 { whole.cut_at(2 << 20) } else { whole }
    });
    let cache = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let path = hub(&server, cache.path()).fetch(&model(), None, &mut told).unwrap();
    assert_eq!(fs::read(path).unwrap(), content(SIZE));
    assert_eq!(ranges(&server), [None, Some("bytes=2097152-".into()), Some("bytes=4194304-".into())]);
    assert_eq!(told.num_bytes, SIZE as u64, "no byte came twice");
}

#[test]
fn a_later_start_goes_on_where_an_earlier_one_ended() {
    let server = hub_of(|request, _, bytes| Answer::file(request, bytes));
    let cache = tempfile::tempdir().unwrap();
    let partial = partial_of(&cache);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &content(SIZE)[..1000]).unwrap();
    let mut told = Told::default();
    let path = hub(&server, cache.path()).fetch(&model(), None, &mut told).unwrap();
    assert_eq!(fs::read(path).unwrap(), content(SIZE));
    assert_eq!(ranges(&server), [Some("bytes=1000-".to_owned())]);
    assert_eq!(told.starts, [("m.gguf".to_owned(), 1000, Some(SIZE as u64))]);
    assert!(!partial.exists());
}

#[test]
fn a_damaged_beginning_is_noticed_and_downloaded_again() {
    let server = hub_of(|request, _, bytes| Answer::file(request, bytes));
    let cache = tempfile::tempdir().unwrap();
    for damaged in [vec![7; 1000], vec![7; SIZE], vec![7; SIZE + 1]] {
        let partial = partial_of(&cache);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, &damaged).unwrap();
        let path = hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content(SIZE));
        fs::remove_file(fs::canonicalize(path).unwrap()).unwrap();
    }
}

#[test]
fn a_server_without_ranges_is_asked_from_the_start() {
    let server = hub_of(|_, n, bytes| {
        let whole = Answer::new(200, bytes);
        if n == 0 { whole.cut_at(3 << 20) } else { whole }
    });
    let cache = tempfile::tempdir().unwrap();
    let path = hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap();
    assert_eq!(fs::read(path).unwrap(), content(SIZE));
}

#[test]
fn wrong_bytes_are_refused_and_removed() {
    let server = hub_of(|request, _, bytes| {
        let mut wrong = bytes.to_vec();
        wrong[SIZE / 2] ^= 1;
        Answer::file(request, &wrong)
    });
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { .. }) && error.to_string().contains("m.gguf"), "{error}");
    assert!(!partial_of(&cache).exists());
    assert!(hub(&server, cache.path()).cached().is_empty());
}

#[test]
fn a_file_of_another_size_is_refused() {
    let longer = hub_of(|_, _, bytes| Answer::new(200, [bytes, b"more"].concat()));
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&longer, cache.path()).fetch(&model(), None, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("5242884") && error.contains("5242880"), "{error}");
}

#[test]
fn tries_are_bounded_and_what_came_is_kept() {
    let server = hub_of(|request, _, bytes| Answer::file(request, bytes).cut_at(10));
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap_err();
    assert!(matches!(error, HubError::BrokeOff { attempts: 5, done: 50, .. }), "{error}");
    assert_eq!(server.downloads().len(), 5);
    assert_eq!(fs::read(partial_of(&cache)).unwrap(), content(SIZE)[..50]);
}

#[test]
fn a_busy_hub_is_asked_again() {
    let server = hub_of(|request, n, bytes| match n {
        0 => Answer::new(503, "busy"),
        1 => Answer::new(429, "slow down"),
        _ => Answer::file(request, bytes),
    });
    let cache = tempfile::tempdir().unwrap();
    assert!(hub(&server, cache.path()).fetch(&model(), None, &mut Silent).is_ok());
}

fn refused(status: u16, token: Option<&str>) -> String {
    let server = Server::start(move |_| Answer::new(status, "{\"error\":\"no\"}"));
    let cache = tempfile::tempdir().expect("a temporary folder");
    let config = HubConfig { token: token.map(str::to_owned), ..config(&server, cache.path()) };
    let hub = Hub::new(config).expect("a sound configuration");
    hub.fetch(&model(), None, &mut Silent).expect_err("the server refuses").to_string()
}

#[test]
fn refusals_say_what_to_do() {
    let cases: [(u16, Option<&str>, &[&str]); 6] = [
        (401, None, &["HF_TOKEN", "gated"]),
        (401, Some("hf_x"), &["not valid"]),
        (403, Some("hf_x"), &["licence"]),
        (404, None, &["user/model", "no such repository"]),
        (429, None, &["429"]),
        (500, None, &["500", "no"]),
    ];
    for (status, token, words) in cases {
        let error = refused(status, token);
        assert!(words.iter().all(|word| error.contains(word)), "{status}: {error}");
        assert!(!error.contains("hf_x"), "{error}");
    }
}

#[test]
fn answers_that_no_hub_gives_are_errors() {
    let odd: [Value; 5] =
        [json!(null), json!({}), json!({ "branches": [] }), json!({ "branches": [{ "name": "main" }] }), json!([[[]]])];
    for answer in odd {
        let server = Server::start(move |_| Answer::json(&answer));
        let cache = tempfile::tempdir().unwrap();
        let error = hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap_err();
        assert!(matches!(&error, HubError::Answer { .. }) && error.to_string().contains("HF_ENDPOINT"), "{error}");
    }
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let elsewhere = std::sync::Arc::new(Server::start(|request| Answer::file(request, &content(SIZE))));
    // Another name of the same machine: another host.
    let target = elsewhere.url().replace("127.0.0.1", "localhost") + "/signed";
    let server = hub_of(move |_, _, _| Answer::new(302, "").with("Location", &target));
    let cache = tempfile::tempdir().unwrap();
    let partial = partial_of(&cache);
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &content(SIZE)[..1000]).unwrap();
    let config = HubConfig { token: Some("hf_secret".into()), ..config(&server, cache.path()) };
    Hub::new(config).unwrap().fetch(&model(), None, &mut Silent).unwrap();
    for request in server.requests() {
        assert_eq!(request.headers["authorization"], "Bearer hf_secret", "{}", request.path);
    }
    let [request] = &elsewhere.requests()[..] else { panic!("one request") };
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(request.headers["range"], "bytes=1000-", "a redirect keeps the range");
}

#[test]
fn two_at_once_download_once() {
    let server = hub_of(|request, _, bytes| Answer::file(request, bytes));
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| hub(&server, cache.path()).fetch(&model(), None, &mut Silent).unwrap());
        }
    });
    assert_eq!(server.downloads().len(), 1);
}
