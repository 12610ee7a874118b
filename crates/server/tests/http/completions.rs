//! `/v1/completions`.

use serde_json::{Value as Json, json};

use crate::{
    client::assert_error,
    executor::Scripted,
    served::{BOS, EOS, Server, letter},
};

const PATH: &str = "/v1/completions";

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

fn num_prompt_tokens(server: &Server, prompt: Json) -> Json {
    let answer = server.post(PATH, &json!({ "prompt": prompt }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["usage"]["prompt_tokens"].clone()
}

#[test]
fn an_answer_has_openais_shape() {
    let answer = hello().post(PATH, &json!({ "prompt": "abc" })).json();
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("text_completion"), &json!("letters")));
    let expect = json!({ "text": "hi", "index": 0, "logprobs": null, "finish_reason": "stop" });
    assert_eq!(answer["choices"], json!([expect]));
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]), (&json!(4), &json!(3)));
}

#[test]
fn prompts_are_texts_ids_and_mixtures() {
    let server = hello();
    assert_eq!(num_prompt_tokens(&server, json!("abc")), 4, "the token that begins a text is added");
    assert_eq!(num_prompt_tokens(&server, json!([BOS, letter('a'), letter('b')])), 3);
    assert_eq!(num_prompt_tokens(&server, json!(["abc", letter('a'), "bc"])), 7);
    assert_eq!(num_prompt_tokens(&server, json!({ "prompt_string": "abc" })), 4);
    assert_eq!(num_prompt_tokens(&server, json!(["ab", [letter('a')]])), 4, "two prompts");
}

#[test]
fn choices_of_several_prompts_stand_in_order() {
    let answer = hello().post(PATH, &json!({ "prompt": ["a", "bcd"], "n": 2 })).json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|c| c["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]), (&json!(6), &json!(12)));
}

#[test]
fn logprobs_have_both_forms() {
    let answer = hello().post(PATH, &json!({ "prompt": "a", "logprobs": 2 })).json();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["h", "i"]));
    assert_eq!(logprobs["token_logprobs"], json!([-0.5, -0.5]));
    assert_eq!(logprobs["text_offset"], json!([0, 1]));
    assert_eq!(logprobs["top_logprobs"][0], json!({ "h": -0.5, "i": -1.5 }));
    assert_eq!(logprobs["content"][1]["token"], "i");
    let none = hello().post(PATH, &json!({ "prompt": "a", "logprobs": 0 })).json();
    assert_eq!(none["choices"][0]["logprobs"]["top_logprobs"], json!([{}, {}]));
    assert_error(&hello().post(PATH, &json!({ "prompt": "a", "logprobs": 21 })), 400, &["logprobs", "21", "20"]);
}

#[test]
fn what_llama_server_refuses_is_refused() {
    let server = hello();
    assert_error(&server.post(PATH, &json!({ "prompt": "a", "echo": true })), 400, &["echo"]);
    assert_error(&server.post(PATH, &json!({ "prompt": "a", "best_of": 2 })), 400, &["best_of"]);
    assert_error(&server.post(PATH, &json!({ "prompt": "a", "suffix": "b" })), 400, &["suffix"]);
    let off = json!({ "prompt": "a", "echo": false, "best_of": null, "suffix": null });
    assert_eq!(server.post(PATH, &off).status, 200);
}
