//! Without a network: what is in the cache, or an error that says so.

use std::fs;

use hub::{Hub, HubConfig, HubError, ModelRef, Silent};

use crate::{
    config, hub,
    server::{Answer, Server},
};

fn model(name: &str) -> ModelRef {
    name.parse().expect("a sound name")
}

#[test]
fn offline_takes_what_is_there_and_asks_nobody() {
    let server = Server::hub(&[
        ("m-Q8_0.gguf", b"eight"),
        ("n-Q4_0-00001-of-00002.gguf", b"1"),
        ("n-Q4_0-00002-of-00002.gguf", b"2"),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let path = hub(&server, cache.path()).fetch(&model("user/model:Q4_0"), None, &mut Silent).unwrap();
    let num_requests = server.requests().len();
    let offline = Hub::new(HubConfig { offline: true, ..config(&server, cache.path()) }).unwrap();
    assert_eq!(offline.fetch(&model("user/model"), None, &mut Silent).unwrap(), path);
    assert_eq!(offline.fetch(&model("user/model:Q4_0"), None, &mut Silent).unwrap(), path);
    for (name, file) in [("user/model:Q8_0", None), ("user/other", None), ("user/model", Some("m-Q8_0.gguf"))] {
        let error = offline.fetch(&model(name), file, &mut Silent).unwrap_err();
        assert!(matches!(&error, HubError::Offline { .. }) && error.to_string().contains("--offline"), "{error}");
    }
    // Half of a split model is no model.
    fs::remove_file(path.with_file_name("n-Q4_0-00002-of-00002.gguf")).unwrap();
    assert!(matches!(offline.fetch(&model("user/model"), None, &mut Silent), Err(HubError::Offline { .. })));
    assert_eq!(server.requests().len(), num_requests);
}

#[test]
fn a_hub_that_is_away_is_no_error_where_the_cache_has_the_model() {
    let server = Server::hub(&[("m.gguf", b"content")]);
    let cache = tempfile::tempdir().unwrap();
    let path = hub(&server, cache.path()).fetch(&model("user/model"), None, &mut Silent).unwrap();
    let broken = Server::start(|_| Answer::new(502, "bad gateway"));
    assert_eq!(hub(&broken, cache.path()).fetch(&model("user/model"), None, &mut Silent).unwrap(), path);
    let error = hub(&broken, cache.path()).fetch(&model("user/other"), None, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("502"), "{error}");
}

#[test]
fn nobody_there_is_an_error_that_names_the_network() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cache = tempfile::tempdir().unwrap();
    let config = HubConfig {
        retry_delay: std::time::Duration::ZERO,
        ..HubConfig::new(&format!("http://127.0.0.1:{port}"), cache.path())
    };
    let error = Hub::new(config).unwrap().fetch(&model("user/model"), None, &mut Silent).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("HTTPS_PROXY") && error.to_string().contains("--offline"), "{error}");
}
