//! `/completion`, llama-server's own route.

use serde_json::{Value as Json, json};

use crate::{
    executor::Scripted,
    served::{EOS, IM_START, Server, letter},
};

const PATH: &str = "/completion";

fn hello() -> Server {
    Server::start(Scripted::new(&[letter('h'), letter('i'), EOS]))
}

fn ask(server: &Server, body: &Json) -> Json {
    let answer = server.post(PATH, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn an_answer_has_llama_servers_shape() {
    let answer = ask(&hello(), &json!({ "prompt": "abc", "seed": 7, "temperature": 0.5, "top_k": 3, "stop": ["x"] }));
    assert_eq!(
        (&answer["content"], &answer["stop"], &answer["stop_type"]),
        (&json!("hi"), &json!(true), &json!("eos"))
    );
    assert_eq!((&answer["tokens_predicted"], &answer["tokens_evaluated"]), (&json!(3), &json!(4)));
    assert_eq!((&answer["prompt"], &answer["tokens"]), (&json!("<s>abc"), &json!([])));
    assert_eq!((&answer["has_new_line"], &answer["truncated"]), (&json!(false), &json!(false)));
    assert_eq!((&answer["stopping_word"], &answer["tokens_cached"]), (&json!(""), &json!(7)));
    let settings = &answer["generation_settings"];
    assert_eq!((&settings["seed"], &settings["temperature"]), (&json!(7), &json!(0.5)));
    assert_eq!((&settings["top_k"], &settings["stop"]), (&json!(3), &json!(["x"])));
    assert_eq!((&settings["n_predict"], &settings["stream"]), (&json!(-1), &json!(false)));
    assert!(answer["timings"]["predicted_ms"].is_number());
}

#[test]
fn both_names_and_token_prompts_work() {
    let answer = hello().post("/completions", &json!({ "prompt": [letter('a')], "n_predict": 1 })).json();
    assert_eq!((&answer["content"], &answer["stop_type"]), (&json!("h"), &json!("limit")));
    assert_eq!(answer["tokens_evaluated"], 1);
}

#[test]
fn several_prompts_give_a_list() {
    let answer = ask(&hello(), &json!({ "prompt": ["a", "b"] }));
    assert_eq!((&answer[0]["index"], &answer[1]["index"]), (&json!(0), &json!(1)));
    assert_eq!((&answer[0]["prompt"], &answer[1]["prompt"]), (&json!("<s>a"), &json!("<s>b")));
    assert_eq!(ask(&hello(), &json!({ "prompt": "a", "n_cmpl": 2 }))[1]["content"], "hi");
    assert_eq!(ask(&hello(), &json!({ "prompt": ["a"] }))["content"], "hi");
}

#[test]
fn tokens_and_probabilities_on_demand() {
    let answer = ask(&hello(), &json!({ "prompt": "a", "return_tokens": true, "n_probs": 2 }));
    assert_eq!(answer["tokens"], json!([letter('h'), letter('i'), EOS]));
    let probabilities = answer["completion_probabilities"].as_array().unwrap();
    assert_eq!((probabilities.len(), &probabilities[1]["id"]), (2, &json!(letter('i'))));
    assert_eq!(probabilities[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert!(ask(&hello(), &json!({ "prompt": "a", "n_probs": 0 })).get("completion_probabilities").is_none());
}

#[test]
fn stop_words_are_named() {
    let server = Server::start(Scripted::new(&[letter('a'), letter('b'), letter('c')]));
    let answer = ask(&server, &json!({ "prompt": "a", "stop": ["zz", "bc"] }));
    assert_eq!((&answer["content"], &answer["stop_type"]), (&json!("a"), &json!("word")));
    assert_eq!((&answer["stopping_word"], &answer["tokens_predicted"]), (&json!("bc"), &json!(3)));
}

#[test]
fn with_ignore_eos_the_answer_goes_on() {
    let answer = ask(&hello(), &json!({ "prompt": "a", "ignore_eos": true, "n_predict": 5 }));
    assert_eq!((&answer["stop_type"], &answer["tokens_predicted"]), (&json!("limit"), &json!(5)));
    let biases = answer["generation_settings"]["logit_bias"].as_array().unwrap();
    assert!(biases.is_empty(), "the client gave none: {biases:?}");
}

#[test]
fn the_context_ends_an_answer() {
    let server = Server::start(Scripted::new(&[letter('a')]));
    let answer = ask(&server, &json!({ "prompt": vec![letter('a'); 1000] }));
    assert_eq!((&answer["stop_type"], &answer["truncated"]), (&json!("limit"), &json!(true)));
    assert_eq!(answer["tokens_predicted"], 24, "{answer}");
}

#[test]
fn fields_can_be_picked() {
    let fields = json!(["content", "generation_settings/top_k", "nothing"]);
    let answer = ask(&hello(), &json!({ "prompt": "a", "response_fields": fields, "top_k": 9 }));
    assert_eq!(answer, json!({ "content": "hi", "top_k": 9 }));
}

#[test]
fn markup_in_prompts_is_markup_and_control_tokens_are_not_shown() {
    let server = Server::start(Scripted::new(&[IM_START, letter('a'), EOS]));
    let answer = ask(&server, &json!({ "prompt": "<|im_start|>" }));
    assert_eq!((&answer["tokens_evaluated"], &answer["content"]), (&json!(2), &json!("a")));
}
