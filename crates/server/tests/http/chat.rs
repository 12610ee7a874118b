//! `/v1/chat/completions`.

use serde_json::{Value as Json, json};

use crate::{
    client::assert_error,
    executor::Scripted,
    served::{EOS, Server, byte, letter},
};

const PATH: &str = "/v1/chat/completions";

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

fn ask(more: Json) -> Json {
    let mut body = json!({ "messages": [{ "role": "user", "content": "hi" }], "model": "any" });
    more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    body
}

#[test]
fn an_answer_has_openais_shape() {
    let answer = hello().post(PATH, &ask(json!({})));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let answer = answer.json();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("any")));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"], json!({ "role": "assistant", "content": "hi" }));
    assert_eq!((&choice["finish_reason"], &choice["index"]), (&json!("stop"), &json!(0)));
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 3, "the token that ends the answer counts");
    let (prompt, total) = (usage["prompt_tokens"].as_u64().unwrap(), usage["total_tokens"].as_u64().unwrap());
    assert_eq!(total, prompt + 3);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!((&answer["timings"]["predicted_n"], &answer["timings"]["prompt_n"]), (&json!(3), &json!(prompt)));
}

#[test]
fn the_route_without_prefix_is_the_same() {
    assert_eq!(hello().post("/chat/completions", &ask(json!({}))).json()["choices"][0]["message"]["content"], "hi");
}

#[test]
fn null_and_unknown_fields_are_ignored() {
    let more = json!({ "temperature": null, "stop": null, "n": null, "user": "u", "frobnicate": [1], "tools": [] });
    assert_eq!(hello().post(PATH, &ask(more)).status, 200);
}

#[test]
fn a_repeated_prompt_is_cached_unless_the_client_minds() {
    let server = hello();
    let long = json!({ "messages": [{ "role": "user", "content": "x".repeat(100) }] });
    let cached =
        |body: &Json| server.post(PATH, body).json()["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
    assert_eq!(cached(&long), 0);
    assert!(cached(&long).as_u64().unwrap() >= 96);
    let mut minds = long;
    minds["cache_prompt"] = json!(false);
    assert_eq!(cached(&minds), 0);
}

#[test]
fn several_choices_share_the_prompt() {
    let answer = hello().post(PATH, &ask(json!({ "n": 3, "max_tokens": 2 }))).json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|c| c["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(choices.iter().all(|c| c["message"]["content"] == "hi" && c["finish_reason"] == "length"), "{answer}");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 6);
    assert_eq!(usage["total_tokens"], usage["prompt_tokens"].as_u64().unwrap() + 6);
    assert_eq!(hello().post(PATH, &ask(json!({ "n_cmpl": 2 }))).json()["choices"].as_array().unwrap().len(), 2);
}

#[test]
fn limits_on_tokens_go_by_three_names() {
    for name in ["max_tokens", "max_completion_tokens", "n_predict"] {
        let answer = hello().post(PATH, &ask(json!({ name: 1 }))).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "h", "{name}");
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let none = hello().post(PATH, &ask(json!({ "max_tokens": 0 }))).json();
    assert_eq!(
        (&none["choices"][0]["message"]["content"], &none["usage"]["completion_tokens"]),
        (&json!(""), &json!(0))
    );
}

#[test]
fn logprobs_stand_beside_each_token() {
    let answer = hello().post(PATH, &ask(json!({ "logprobs": true, "top_logprobs": 2 }))).json();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 2);
    assert_eq!((&content[0]["token"], &content[0]["bytes"]), (&json!("h"), &json!([104])));
    assert_eq!((&content[0]["logprob"], &content[0]["id"]), (&json!(-0.5), &json!(letter('h'))));
    let top = content[0]["top_logprobs"].as_array().unwrap();
    assert_eq!((top.len(), &top[1]["token"], &top[1]["logprob"]), (2, &json!("i"), &json!(-1.5)));
    assert!(hello().post(PATH, &ask(json!({}))).json()["choices"][0].get("logprobs").is_none());
}

#[test]
fn half_a_character_has_its_bytes_in_logprobs_and_is_never_sent() {
    let server = Server::start(Scripted::new(&[byte(0xC3), byte(0xA9), EOS]));
    let answer = server.post(PATH, &ask(json!({ "logprobs": true, "top_logprobs": 0 }))).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "é");
    let first = &answer["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&first["token"], &first["bytes"]), (&json!(""), &json!([0xC3])));
    let cut = server.post(PATH, &ask(json!({ "max_tokens": 1 }))).json();
    assert_eq!(cut["choices"][0]["message"]["content"], "\u{FFFD}");
}

#[test]
fn a_stop_word_is_not_part_of_the_text() {
    let server = Server::start(Scripted::new(&[letter('a'), letter('b'), letter('c'), letter('d')]));
    for stop in [json!("bc"), json!(["x", "bc"])] {
        let choice = &server.post(PATH, &ask(json!({ "stop": stop }))).json()["choices"][0];
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("a"), &json!("stop")));
    }
}

#[test]
fn a_last_assistant_message_is_continued() {
    let server = hello();
    let messages = json!([{ "role": "user", "content": "hi" }, { "role": "assistant", "content": "we" }]);
    let prompt = server.post("/apply-template", &json!({ "messages": messages })).json();
    assert_eq!(prompt["prompt"], "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nwe");
    assert_eq!(server.post(PATH, &json!({ "messages": messages })).status, 200);
    let twice = json!([{ "role": "assistant", "content": "a" }, { "role": "assistant", "content": "b" }]);
    assert_error(&server.post(PATH, &json!({ "messages": twice })), 400, &["messages", "2 or more"]);
}

#[test]
fn templates_show_their_prompt() {
    let server = hello();
    let body = json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }] });
    let prompt = &server.post("/apply-template", &body).json()["prompt"];
    assert_eq!(prompt, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    let mut open = body;
    open["add_generation_prompt"] = json!(false);
    assert_eq!(server.post("/apply-template", &open).json()["prompt"], "<|im_start|>user\nhi<|im_end|>\n");
}

#[test]
fn what_is_not_supported_says_so() {
    let server = hello();
    let tool = json!([{ "type": "function", "function": { "name": "f" } }]);
    for (more, word) in [
        (json!({ "tools": tool }), "tools"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "response_format": { "type": "json_schema", "json_schema": {} } }), "response_format"),
        (json!({ "grammar": "root ::= \"a\"" }), "grammar"),
        (json!({ "json_schema": {} }), "json_schema"),
        (json!({ "lora": [{ "id": 0, "scale": 1 }] }), "lora"),
        (json!({ "mirostat": 2 }), "mirostat"),
        (json!({ "dry_multiplier": 0.8 }), "dry_multiplier"),
        (json!({ "samplers": ["top_k"] }), "samplers"),
        (json!({ "post_sampling_probs": true }), "post_sampling_probs"),
        (json!({ "reasoning_format": "deepseek" }), "reasoning_format"),
    ] {
        assert_error(&server.post(PATH, &ask(more)), 501, &[word, "support"]);
    }
    let image = json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] });
    assert_error(&server.post(PATH, &image), 501, &["image_url", "messages[0].content"]);
    assert_eq!(server.post(PATH, &ask(json!({ "tools": tool, "tool_choice": "none" }))).status, 200);
}
