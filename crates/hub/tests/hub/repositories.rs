//! Repositories: which file is taken, where it lies, what is asked for a second time.

use std::fs;

use hub::{HubError, ModelRef, Silent};
use serde_json::json;

use crate::{
    Told, hub,
    server::{Answer, COMMIT, Server, content, entry, refs, sha256},
};

fn model(name: &str) -> ModelRef {
    name.parse().expect("a sound name")
}

#[test]
fn a_model_is_downloaded_once_into_the_layout_of_the_python_library() {
    let bytes = content(3_000_000);
    let server = Server::hub(&[("README.md", b"hello"), ("m-Q8_0.gguf", b"no"), ("sub/m-Q4_K_M.gguf", &bytes)]);
    let cache = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let path = hub(&server, cache.path()).fetch(&model("user/model"), None, &mut told).unwrap();

    let folder = cache.path().join("models--user--model");
    assert_eq!(path, folder.join("snapshots").join(COMMIT).join("sub/m-Q4_K_M.gguf"));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(fs::canonicalize(&path).unwrap(), fs::canonicalize(folder.join("blobs").join(sha256(&bytes))).unwrap());
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read_dir(folder.join("blobs")).unwrap().count(), 1, "no partial file is left");
    assert_eq!(told.starts, [("sub/m-Q4_K_M.gguf".to_owned(), 0, Some(3_000_000))]);
    assert_eq!((told.num_bytes, told.num_finished), (3_000_000, 1));

    assert_eq!(hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent).unwrap(), path);
    assert_eq!(server.downloads().len(), 1, "the second start downloads nothing");
    let cached = hub(&server, cache.path()).cached();
    assert_eq!((cached.len(), cached[0].repo.as_str(), cached[0].num_bytes), (1, "user/model", 3_000_000));
}

#[test]
fn the_quantization_or_the_file_is_taken() {
    let server = Server::hub(&[("m-Q4_K_M.gguf", b"four"), ("m-Q8_0.gguf", b"eight"), ("m#1 b.gguf", b"odd")]);
    let cache = tempfile::tempdir().unwrap();
    let fetch = |name: &str, file| hub(&server, cache.path()).fetch(&model(name), file, &mut Silent);
    assert_eq!(fs::read(fetch("user/model:q8_0", None).unwrap()).unwrap(), b"eight");
    assert_eq!(fs::read(fetch("user/model", Some("M-q4_k_m.GGUF")).unwrap()).unwrap(), b"four");
    let missing = fetch("user/model:Q6_K", None).unwrap_err().to_string();
    assert!(missing.contains("Q6_K") && missing.contains("m-Q4_K_M.gguf, m-Q8_0.gguf"), "{missing}");
    assert!(matches!(fetch("user/model", Some("../m.gguf")), Err(HubError::FileName(_))));
    assert!(matches!(fetch("user/model", Some("/etc/passwd")), Err(HubError::FileName(_))));
    // The server looks for the name as it stands in the URL and finds no such file.
    assert!(fetch("user/model", Some("m#1 b.gguf")).is_err());
    assert!(server.downloads().last().unwrap().path.ends_with("/m%231%20b.gguf"));
}

#[test]
fn all_parts_of_a_split_model_come() {
    let names = ["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00002-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"];
    let server = Server::hub(&[(names[2], b"three"), (names[0], b"one"), (names[1], b"two")]);
    let cache = tempfile::tempdir().unwrap();
    let path = hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent).unwrap();
    assert!(path.ends_with(names[0]));
    let read = |name| fs::read(path.with_file_name(name)).unwrap();
    assert_eq!((read(names[0]), read(names[1]), read(names[2])), (b"one".to_vec(), b"two".to_vec(), b"three".to_vec()));

    let server = Server::hub(&[(names[0], b"one"), (names[2], b"three")]);
    let error = hub(&server, tempfile::tempdir().unwrap().path()).fetch(&model("user/model"), None, &mut Silent);
    assert!(matches!(error, Err(HubError::MissingPart { part: 2, count: 3, .. })), "{error:?}");
}

#[test]
fn a_list_of_several_pages_is_read_to_its_end() {
    let server = Server::start(|request| match request.path.as_str() {
        "/api/models/user/model/refs" => Answer::json(&refs()),
        path if path.ends_with("page=2") => Answer::json(&json!([entry("m.gguf", b"content")])),
        path if path.contains("/tree/") => {
            let host = &request.headers["host"];
            let next = format!("<http://{host}/api/models/user/model/tree/x?page=2>; rel=\"next\"");
            Answer::json(&json!([entry("a.txt", b"")])).with("Link", &next)
        }
        _ => Answer::file(request, b"content"),
    });
    let cache = tempfile::tempdir().unwrap();
    assert!(hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent).is_ok());
}

#[test]
fn names_and_checksums_that_cannot_be_are_left_out() {
    let server = Server::start(|request| match request.path.as_str() {
        "/api/models/user/model/refs" => Answer::json(&refs()),
        path if path.contains("/tree/") => {
            let mut odd = entry("odd.gguf", b"x");
            odd["lfs"]["oid"] = json!("../../../evil");
            Answer::json(&json!([entry("../../evil.gguf", b"x"), entry("/evil.gguf", b"x"), odd]))
        }
        _ => Answer::new(200, "x"),
    });
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent);
    assert!(matches!(&error, Err(HubError::NoFile { available, .. }) if available.is_empty()), "{error:?}");
    assert!(server.downloads().is_empty());
    let odd = hub(&server, cache.path()).fetch(&model("user/model"), Some("odd.gguf"), &mut Silent);
    assert!(matches!(odd, Err(HubError::NoFile { .. })));
}

#[test]
fn a_small_file_is_checked_with_gits_own_checksum() {
    // `printf hello | git hash-object --stdin`
    let oid = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
    let server = Server::start(move |request| match request.path.as_str() {
        "/api/models/user/model/refs" => Answer::json(&refs()),
        path if path.contains("/tree/") => {
            Answer::json(&json!([{ "type": "file", "path": "m.gguf", "oid": oid, "size": 5 }]))
        }
        _ => Answer::file(request, b"hello"),
    });
    let cache = tempfile::tempdir().unwrap();
    assert!(hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent).is_ok());
}
