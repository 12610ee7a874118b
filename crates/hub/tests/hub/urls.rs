//! Plain URLs: versions instead of checksums.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use hub::{Hub, HubConfig, HubError, Silent};

use crate::{
    config, hub,
    server::{Answer, Server},
};

/// A server of one file that can be replaced, with versions or without.
fn file_server(versions: bool) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let content = Arc::new(Mutex::new(b"first".to_vec()));
    let shared = Arc::clone(&content);
    let server = Server::start(move |request| {
        let content = shared.lock().expect("no test panicked in it").clone();
        if request.path.starts_with("/gone") {
            return Answer::new(404, "");
        }
        if !versions {
            return Answer::file(request, &content);
        }
        let etag = format!("\"{}\"", content.len());
        if request.headers.get("if-none-match") == Some(&etag) {
            return Answer::new(304, "");
        }
        let matches = request.headers.get("if-range").is_none_or(|tag| *tag == etag);
        let answer = if matches { Answer::file(request, &content) } else { Answer::new(200, content) };
        answer.with("ETag", &etag)
    });
    (server, content)
}

#[test]
fn a_file_is_downloaded_again_only_when_it_changed() {
    let (server, content) = file_server(true);
    let cache = tempfile::tempdir().unwrap();
    let fetch = || hub(&server, cache.path()).fetch_url(&format!("{}/a/m.gguf?key=1", server.url()), &mut Silent);
    let path = fetch().unwrap();
    assert!(path.ends_with("m.gguf") && path.starts_with(cache.path()));
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(fetch().unwrap(), path);
    *content.lock().unwrap() = b"the second".to_vec();
    assert_eq!(fs::read(fetch().unwrap()).unwrap(), b"the second");
    let leftovers = fs::read_dir(path.parent().unwrap()).unwrap().flatten();
    let leftovers: Vec<_> = leftovers.filter(|e| e.file_name().to_string_lossy().contains("incomplete")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");

    let offline = Hub::new(HubConfig { offline: true, ..config(&server, cache.path()) }).unwrap();
    assert_eq!(offline.fetch_url(&format!("{}/a/m.gguf", server.url()), &mut Silent).unwrap(), path);
    let other = offline.fetch_url(&format!("{}/b/m.gguf", server.url()), &mut Silent);
    assert!(matches!(other, Err(HubError::Offline { .. })));
}

#[test]
fn a_partial_file_of_another_version_is_thrown_away() {
    let (server, _) = file_server(true);
    let cache = tempfile::tempdir().unwrap();
    let url = format!("{}/m.gguf", server.url());
    let path = hub(&server, cache.path()).fetch_url(&url, &mut Silent).unwrap();
    let partial = path.with_file_name("m.gguf.incomplete");
    for (etag, version) in [(Some("\"5\""), "the same"), (Some("\"9\""), "another"), (None, "unknown")] {
        fs::remove_file(&path).unwrap();
        fs::write(&partial, "fi").unwrap();
        let _ = fs::remove_file(path.with_file_name("m.gguf.incomplete.etag"));
        if let Some(etag) = etag {
            fs::write(path.with_file_name("m.gguf.incomplete.etag"), etag).unwrap();
        }
        hub(&server, cache.path()).fetch_url(&url, &mut Silent).unwrap();
        let last = server.downloads().pop().unwrap();
        assert_eq!(last.headers.contains_key("range"), etag.is_some(), "{version}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }
}

#[test]
fn without_versions_the_file_that_is_there_stays() {
    let (server, content) = file_server(false);
    let cache = tempfile::tempdir().unwrap();
    let url = format!("{}/m.gguf", server.url());
    hub(&server, cache.path()).fetch_url(&url, &mut Silent).unwrap();
    *content.lock().unwrap() = b"the second".to_vec();
    assert_eq!(fs::read(hub(&server, cache.path()).fetch_url(&url, &mut Silent).unwrap()).unwrap(), b"first");
}

#[test]
fn parts_of_a_split_come_along_and_hostile_urls_do_not() {
    let (server, _) = file_server(true);
    let cache = tempfile::tempdir().unwrap();
    let path = hub(&server, cache.path()).fetch_url(&format!("{}/m-00001-of-00002.gguf", server.url()), &mut Silent);
    assert!(path.unwrap().with_file_name("m-00002-of-00002.gguf").exists());
    for url in ["file:///etc/passwd", "https://", "http://h/..", "m.gguf", "http://h/a\\..\\b"] {
        assert!(matches!(hub(&server, cache.path()).fetch_url(url, &mut Silent), Err(HubError::Url(_))), "{url}");
    }
    let gone = hub(&server, cache.path()).fetch_url(&format!("{}/gone.gguf", server.url()), &mut Silent);
    assert!(matches!(gone, Err(HubError::NotFound { .. })));
}
