//! What is read without generating: health, models, properties, metrics, tokens; and who may read it.

use serde_json::json;

use crate::{
    client::{Client, assert_error},
    executor::{CAPACITY, Scripted},
    served::{BOS, EOS, Server, Setup, byte, letter},
};

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

#[test]
fn health_and_models() {
    let server = hello();
    for path in ["/health", "/v1/health"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.text()), (200, r#"{"status":"ok"}"#));
        assert_eq!(answer.header("server"), Some("llcuda"));
    }
    for path in ["/models", "/v1/models"] {
        let models = server.get(path).json();
        assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("letters")));
        assert_eq!(models["data"][0]["meta"]["n_ctx"], CAPACITY.max_model_len);
        assert_eq!(models["models"][0]["capabilities"], json!(["completion"]));
    }
}

#[test]
fn properties_tell_defaults_and_template() {
    let props = hello().get("/props").json();
    let defaults = &props["default_generation_settings"];
    assert_eq!((&defaults["n_ctx"], &defaults["params"]["top_k"]), (&json!(1024), &json!(40)));
    assert_eq!(
        (&props["total_slots"], &props["bos_token"], &props["eos_token"]),
        (&json!(8), &json!("<s>"), &json!("</s>"))
    );
    assert!(props["chat_template"].as_str().unwrap().contains("im_start"));
}

#[test]
fn while_the_model_loads_all_but_the_socket_waits() {
    let (server, ready) = Server::loading(|_| ());
    for path in ["/health", "/v1/models", "/props", "/metrics"] {
        assert_error(&server.get(path), 503, &["Loading model"]);
    }
    assert_error(&server.post("/v1/completions", &json!({ "prompt": "a" })), 503, &["Loading model"]);
    drop(ready);
}

#[test]
fn texts_become_tokens_and_back() {
    let server = hello();
    let tokens = |body| server.post("/tokenize", &body).json()["tokens"].clone();
    assert_eq!(tokens(json!({ "content": "ab" })), json!([letter('a'), letter('b')]));
    assert_eq!(tokens(json!({ "content": "a", "add_special": true })), json!([BOS, letter('a')]));
    assert_eq!(tokens(json!({ "content": ["a", letter('z')] })), json!([letter('a'), letter('z')]));
    assert_eq!(tokens(json!({ "content": "</s>" })), json!([EOS]));
    assert_ne!(tokens(json!({ "content": "</s>", "parse_special": false })), json!([EOS]));
    assert_eq!(tokens(json!({})), json!([]));
    let pieces = tokens(json!({ "content": "aü", "with_pieces": true }));
    assert_eq!(pieces[0], json!({ "id": letter('a'), "piece": "a" }));
    assert_eq!(pieces[1], json!({ "id": byte(0xC3), "piece": [0xC3] }));
    let text = server.post("/detokenize", &json!({ "tokens": [BOS, letter('a'), byte(0xC3), byte(0xBC)] })).json();
    assert_eq!(text, json!({ "content": "<s>aü" }));
    assert_error(&server.post("/detokenize", &json!({ "tokens": [304] })), 400, &["tokens", "304", "303"]);
    assert_error(&server.post("/tokenize", &json!({ "content": 5 })), 400, &["content", "5"]);
}

#[test]
fn metrics_have_both_names_and_count_once() {
    let server = hello();
    assert_eq!(server.post("/completion", &json!({ "prompt": "abc" })).status, 200);
    assert_eq!(server.post("/completion", &json!({ "prompt": "abc", "n_predict": 1 })).status, 200);
    let page = server.get("/metrics");
    assert!(page.header("content-type").unwrap().starts_with("text/plain"));
    assert!(page.header("process-start-time-unix").is_some());
    let labels = r#"{engine="0",model_name="letters"}"#;
    for (name, value) in [
        ("llamacpp:tokens_predicted_total", 4.0),
        ("llamacpp:prompt_tokens_total", 8.0),
        ("llamacpp:requests_processing", 0.0),
        (&format!("vllm:generation_tokens_total{labels}"), 4.0),
        (&format!("vllm:num_requests_waiting{labels}"), 0.0),
        (&format!("vllm:time_to_first_token_seconds_count{labels}"), 2.0),
        (&format!("vllm:inter_token_latency_seconds_count{labels}"), 1.0),
        (&format!("vllm:e2e_request_latency_seconds_count{labels}"), 2.0),
        (&format!("vllm:request_queue_time_seconds_count{labels}"), 2.0),
        (r#"vllm:request_success_total{engine="0",finished_reason="stop",model_name="letters"}"#, 1.0),
        (r#"vllm:request_success_total{engine="0",finished_reason="length",model_name="letters"}"#, 1.0),
        (r#"vllm:cache_config_info{block_size="16",engine="0",model_name="letters",num_gpu_blocks="4096"}"#, 1.0),
    ] {
        assert_eq!(server.metric(name), value, "{name}");
    }
    let names: Vec<&str> = page.text().lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len(), "{names:?}");
}

#[test]
fn unknown_paths_and_methods_are_json_errors() {
    let server = hello();
    assert_error(&server.get("/nothing"), 404, &["File Not Found"]);
    assert_error(&server.get("/v1/chat/completions"), 405, &["method"]);
    assert_error(&server.post("/health", &json!({})), 405, &["method"]);
}

#[test]
fn keys_guard_all_but_health() {
    let adjust = |config: &mut server::ServerConfig| config.api_keys = vec!["one".into(), "two".into()];
    let executor = Scripted::new(&[letter('h'), EOS]);
    let server = Server::with(executor, Setup { adjust: Some(adjust), ..Setup::default() });
    let ask = |path, headers: &[(&str, &str)]| {
        let mut client = Client::connect(server.address);
        client.send("GET", path, headers, b"");
        client.read_answer()
    };
    for path in ["/v1/models", "/props", "/metrics", "/nothing"] {
        assert_error(&ask(path, &[]), 401, &["Invalid API Key"]);
    }
    assert_error(&ask("/v1/models", &[("Authorization", "Bearer three")]), 401, &["Invalid API Key"]);
    assert_eq!(ask("/v1/models", &[("Authorization", "Bearer two")]).status, 200);
    assert_eq!(ask("/v1/models", &[("X-Api-Key", "one")]).status, 200);
    assert_eq!(ask("/health", &[]).status, 200);
}

#[test]
fn browsers_get_their_headers() {
    let server = hello();
    let mut client = server.client();
    client.send("OPTIONS", "/v1/chat/completions", &[("Origin", "http://example.org")], b"");
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://example.org"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("POST"));
    // The connection stays, as for any other answer.
    client.send("GET", "/health", &[("Origin", "http://example.org")], b"");
    assert_eq!(client.read_answer().header("access-control-allow-origin"), Some("http://example.org"));
}
