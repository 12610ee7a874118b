//! Requests that make no sense: each gets an error that names field, value and limit, and disturbs nobody.

use serde_json::{Value as Json, json};

use crate::{
    client::assert_error,
    executor::{CAPACITY, Scripted},
    served::{EOS, Server, letter},
};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const NATIVE: &str = "/completion";

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

fn still_answers(server: &Server) {
    assert_eq!(server.post(NATIVE, &json!({ "prompt": "a" })).json()["content"], "hi");
}

#[test]
fn bodies_that_are_no_objects() {
    let server = hello();
    for path in [CHAT, COMPLETIONS, NATIVE, "/tokenize", "/detokenize", "/apply-template"] {
        assert_error(&server.post_bytes(path, b""), 400, &["JSON"]);
        assert_error(&server.post_bytes(path, b"{\"a\":"), 400, &["JSON"]);
        assert_error(&server.post_bytes(path, b"[1]"), 400, &["object"]);
        assert_error(&server.post_bytes(path, b"{\"prompt\":\"\xFF\"}"), 400, &["UTF-8"]);
        assert_error(&server.post_bytes(path, "[".repeat(100_000).as_bytes()), 400, &["JSON"]);
    }
    still_answers(&server);
}

#[test]
fn fields_of_a_wrong_type_or_out_of_range() {
    let server = hello();
    for (field, value, words) in [
        ("temperature", json!("hot"), ["temperature", "a number", "\"hot\""]),
        ("temperature", json!([1]), ["temperature", "a number", "a list of 1"]),
        ("temperature", json!(1e300), ["temperature", "between -1e30 and 1e30", "1e+300"]),
        ("top_k", json!("many"), ["top_k", "an integer", "many"]),
        ("top_k", json!(0.5), ["top_k", "an integer", "0.5"]),
        ("top_k", json!(9e18), ["top_k", "an integer", "9e+18"]),
        ("top_p", json!({}), ["top_p", "a number", "an object"]),
        ("repeat_penalty", json!(0), ["repeat_penalty", "between", "0"]),
        ("repeat_last_n", json!(-2), ["repeat_last_n", "-1", "-2"]),
        ("seed", json!(-5), ["seed", "-1", "-5"]),
        ("max_tokens", json!("all"), ["max_tokens", "an integer", "all"]),
        ("n_predict", json!(-2), ["n_predict", "-1", "-2"]),
        ("n", json!(0), ["n", "between 1 and 16", "0"]),
        ("n_cmpl", json!(17), ["n_cmpl", "between 1 and 16", "17"]),
        ("stream", json!("yes"), ["stream", "a boolean", "yes"]),
        ("stop", json!(5), ["stop", "a string or a list", "5"]),
        ("stop", json!(["a", 5]), ["stop", "a string or a list", "5"]),
        ("stop", json!(vec!["a"; 257]), ["stop", "257", "256"]),
        ("stop", json!("a".repeat(4097)), ["stop", "4097", "4096"]),
        ("ignore_eos", json!(1), ["ignore_eos", "a boolean", "1"]),
        ("cache_prompt", json!("no"), ["cache_prompt", "a boolean", "no"]),
        ("logit_bias", json!(5), ["logit_bias", "pairs", "5"]),
        ("logit_bias", json!([[1]]), ["logit_bias", "pairs", "a list of 1"]),
        ("logit_bias", json!([[304, 1]]), ["logit_bias", "303", "304"]),
        ("logit_bias", json!({ "5": "x" }), ["logit_bias", "a number or false", "x"]),
        ("model", json!(5), ["model", "a string", "5"]),
        ("t_max_predict_ms", json!("soon"), ["t_max_predict_ms", "an integer", "soon"]),
        ("sse_ping_interval", json!(-2), ["sse_ping_interval", "-1", "-2"]),
    ] {
        let mut chat = json!({ "messages": [{ "role": "user", "content": "hi" }] });
        let mut prompt = json!({ "prompt": "hi" });
        chat[field] = value.clone();
        prompt[field] = value;
        for (path, body) in [(CHAT, &chat), (COMPLETIONS, &prompt), (NATIVE, &prompt)] {
            assert_error(&server.post(path, body), 400, &words);
        }
    }
    still_answers(&server);
}

#[test]
fn fields_of_one_route() {
    let server = hello();
    let hi = json!([{ "role": "user", "content": "hi" }]);
    for (path, body, words) in [
        (CHAT, json!({}), ["messages", "provided"]),
        (CHAT, json!({ "messages": [] }), ["messages", "empty"]),
        (CHAT, json!({ "messages": "hi" }), ["messages", "a list"]),
        (CHAT, json!({ "messages": [5] }), ["messages[0]", "an object"]),
        (CHAT, json!({ "messages": [{ "role": "user" }] }), ["messages[0].content", "provided"]),
        (CHAT, json!({ "messages": hi, "tools": {} }), ["tools", "a list"]),
        (CHAT, json!({ "messages": hi, "top_logprobs": 3 }), ["top_logprobs", "logprobs"]),
        (CHAT, json!({ "messages": hi, "logprobs": true, "top_logprobs": 21 }), ["top_logprobs", "20"]),
        (CHAT, json!({ "messages": hi, "stream_options": 1 }), ["stream_options", "an object"]),
        (CHAT, json!({ "messages": hi, "stream_options": { "include_usage": 1 } }), ["include_usage", "a boolean"]),
        (CHAT, json!({ "messages": hi, "response_format": { "type": "yaml" } }), ["response_format", "json_object"]),
        (CHAT, json!({ "messages": hi, "chat_template_kwargs": 1 }), ["chat_template_kwargs", "an object"]),
        (COMPLETIONS, json!({}), ["prompt", "provided"]),
        (COMPLETIONS, json!({ "prompt": "" }), ["prompt", "empty"]),
        (COMPLETIONS, json!({ "prompt": [] }), ["prompt", "0 prompts"]),
        (COMPLETIONS, json!({ "prompt": ["a", ""] }), ["prompt", "empty"]),
        (COMPLETIONS, json!({ "prompt": [[]] }), ["prompt", "empty"]),
        (COMPLETIONS, json!({ "prompt": vec!["a"; 257] }), ["prompt", "257"]),
        (COMPLETIONS, json!({ "prompt": true }), ["prompt", "true"]),
        (COMPLETIONS, json!({ "prompt": [5, 304] }), ["prompt", "304"]),
        (COMPLETIONS, json!({ "prompt": [-1] }), ["prompt", "-1"]),
        (COMPLETIONS, json!({ "prompt": [5, true] }), ["prompt", "true"]),
        (COMPLETIONS, json!({ "prompt": { "text": "a" } }), ["prompt", "prompt_string"]),
        (NATIVE, json!({ "prompt": "a", "n_probs": 1001 }), ["n_probs", "1000"]),
        (NATIVE, json!({ "prompt": "a", "response_fields": 5 }), ["response_fields", "5"]),
    ] {
        assert_error(&server.post(path, &body), 400, &words);
    }
    still_answers(&server);
}

#[test]
fn prompts_that_do_not_fit_tell_the_sizes() {
    let server = hello();
    let num_ctx = CAPACITY.max_model_len;
    let check = |path: &str, body: Json, expect: Option<usize>| {
        let answer = server.post(path, &body);
        assert_error(&answer, 400, &["1024"]);
        let error = &answer.json()["error"];
        assert_eq!((&error["type"], &error["n_ctx"]), (&json!("exceed_context_size_error"), &json!(num_ctx)));
        let found = error["n_prompt_tokens"].as_u64().unwrap() as usize;
        assert!(found >= num_ctx && expect.is_none_or(|n| n == found), "{error}");
    };
    check(NATIVE, json!({ "prompt": vec![letter('a'); 1024] }), Some(1024));
    check(NATIVE, json!({ "prompt": "a".repeat(1500) }), Some(1501));
    check(COMPLETIONS, json!({ "prompt": ["a", "a".repeat(1024)] }), Some(1025));
    check(CHAT, json!({ "messages": [{ "role": "user", "content": "a".repeat(2000) }] }), None);
    still_answers(&server);
}

#[test]
fn a_hundred_megabytes_are_read_and_refused() {
    let server = hello();
    let huge = "a".repeat(100_000_000);
    let answer = server.post_bytes(NATIVE, format!(r#"{{"prompt":"{huge}"}}"#).as_bytes());
    assert_error(&answer, 400, &["1024"]);
    assert!(answer.json()["error"]["n_prompt_tokens"].as_u64().unwrap() > 1_000_000);
    still_answers(&server);
}
