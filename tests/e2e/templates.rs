//! How conversations become prompts, as the command line has it.

use serde_json::{Value, json};

use super::{http::post, server::Server};

/// The prompt of a conversation.
fn prompt(server: &Server, more: &Value) -> String {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let answer: Value =
        serde_json::from_str(&post(&server.address, "/apply-template", &body.to_string()).body).expect("JSON");
    answer["prompt"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn a_built_in_format_by_its_name() {
    let server = Server::demo(&["--chat-template", "vicuna", "--no-prefill-assistant"]);
    assert_eq!(prompt(&server, &json!({})), "USER: Hi\nASSISTANT:");
    let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Ho" }]);
    assert_eq!(prompt(&server, &json!({ "messages": messages })), "USER: Hi\nASSISTANT: Ho</s>\nASSISTANT:");
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": {} } }]);
    let body = json!({ "messages": [{ "role": "user", "content": "Hi" }], "tools": tools }).to_string();
    let refused = post(&server.address, "/v1/chat/completions", &body);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("vicuna") && refused.body.contains("--jinja"), "{}", refused.body);
}

#[test]
fn variables_of_the_command_line_and_of_the_request() {
    let template = "{{ mood }}: {{ messages[0].content }}";
    let server = Server::demo(&["--chat-template", template, "--chat-template-kwargs", r#"{"mood": "calm"}"#]);
    assert_eq!(prompt(&server, &json!({})), "calm: Hi");
    assert_eq!(prompt(&server, &json!({ "chat_template_kwargs": { "mood": "merry" } })), "merry: Hi");
}
