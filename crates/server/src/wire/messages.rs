//! Chat messages: checked, brought into the form that templates expect, and rendered to a prompt.

use serde_json::{Map, Value as Json};
use text::ChatInput;

use super::fields::{Fields, wrong_type};
use crate::{
    config::Defaults,
    error::ApiError,
    state::{Loaded, Model},
};

/// Templates may leave out parts of what was said, such as old thoughts; never so much of it.
const MAX_CONTEXTS: usize = 4;

/// Variables of templates that have fields of their own, whose checks must not be gone around.
const OWN_VARIABLES: &[&str] = &["messages", "tools"];

/// Renders the conversation in `messages`. A last message of the assistant is not closed: the answer continues it.
///
/// # Errors
/// When a message is malformed, or the template refuses the conversation.
pub(crate) fn render(fields: &Fields, defaults: &Defaults, loaded: &Loaded) -> Result<String, ApiError> {
    refuse_tools(fields, &loaded.model)?;
    let mut messages = match fields.get("messages") {
        Some(Json::Array(list)) => {
            list.iter().enumerate().map(|(i, m)| message(i, m)).collect::<Result<Vec<_>, _>>()?
        }
        Some(other) => return Err(wrong_type("messages", "a list of messages", other)),
        None => return Err(ApiError::invalid("Field 'messages': must be provided")),
    };
    if messages.is_empty() {
        return Err(ApiError::invalid("Field 'messages': the list is empty, at least one message is needed"));
    }
    refuse_hopeless(&messages, loaded)?;
    let model = &loaded.model;
    let continues = fields.bool("continue_final_message", false)?;
    let prefill = if continues || defaults.prefill_assistant { take_prefill(&mut messages)? } else { None };
    let generation_prompt = fields.bool("add_generation_prompt", true)?;
    refuse_contradiction(fields, continues, prefill.is_some())?;
    let kwargs = kwargs(fields, &defaults.template_kwargs)?;
    let mut text = model.template.render(&ChatInput {
        messages: &Json::Array(messages),
        tools: None,
        add_generation_prompt: generation_prompt || prefill.is_some(),
        kwargs: &kwargs,
    })?;
    drop_added_tokens(&mut text, model);
    text += prefill.as_deref().unwrap_or_default();
    Ok(text)
}

/// Templates are programs: what cannot fit anyway is not put through them.
fn refuse_hopeless(messages: &[Json], loaded: &Loaded) -> Result<(), ApiError> {
    let num_bytes: usize = messages.iter().filter_map(|m| Some(m.get("content")?.as_str()?.len())).sum();
    let at_least = num_bytes / loaded.longest_piece;
    if at_least / MAX_CONTEXTS >= loaded.num_ctx() {
        return Err(ApiError::context_exceeded(at_least, loaded.num_ctx()));
    }
    Ok(())
}

/// A message is continued or answered, not both.
fn refuse_contradiction(fields: &Fields, continues: bool, has_prefill: bool) -> Result<(), ApiError> {
    if continues && fields.get("add_generation_prompt").is_some() && fields.bool("add_generation_prompt", true)? {
        let message = "Field 'continue_final_message': cannot be true together with `add_generation_prompt`";
        return Err(ApiError::invalid(message));
    }
    if continues && !has_prefill {
        let message = "Field 'continue_final_message': is true, but the last message is not the assistant's";
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

fn refuse_tools(fields: &Fields, model: &Model) -> Result<(), ApiError> {
    let tools = match fields.get("tools") {
        None => false,
        Some(Json::Array(list)) => !list.is_empty(),
        Some(other) => return Err(wrong_type("tools", "a list of tools", other)),
    };
    if tools && let Some(format) = model.template.format_name() {
        return Err(ApiError::invalid(format!(
            "Field 'tools': the built-in chat format `{format}` knows no tools; a Jinja template (--jinja) may"
        )));
    }
    // Tools that must not be called are not shown to the model.
    if tools && fields.get("tool_choice").and_then(Json::as_str) != Some("none") {
        return Err(ApiError::unsupported(
            "Field 'tools': tool calls are not supported yet, except `tool_choice: none`",
        ));
    }
    let format = fields.string("reasoning_format")?.unwrap_or("auto");
    if !["auto", "none"].contains(&format) {
        let message = format!("Field 'reasoning_format': `{format}` is not supported yet, `auto` and `none` are");
        return Err(ApiError::unsupported(message));
    }
    Ok(())
}

/// A message with its content as one text.
fn message(idx: usize, value: &Json) -> Result<Json, ApiError> {
    let name = |field: &str| format!("messages[{idx}]{field}");
    let Json::Object(object) = value else { return Err(wrong_type(&name(""), "an object", value)) };
    match object.get("role") {
        Some(Json::String(role)) if !role.is_empty() => {}
        Some(other) => return Err(wrong_type(&name(".role"), "a name", other)),
        None => return Err(ApiError::invalid(format!("Field '{}': must be provided", name(".role")))),
    }
    let text = match object.get("content") {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(parts)) => joined(&name(".content"), parts)?,
        None | Some(Json::Null) if object.contains_key("tool_calls") => String::new(),
        None | Some(Json::Null) => {
            return Err(ApiError::invalid(format!("Field '{}': must be provided", name(".content"))));
        }
        Some(other) => return Err(wrong_type(&name(".content"), "a string or a list of parts", other)),
    };
    let mut object = object.clone();
    object.insert("content".to_owned(), Json::String(text));
    Ok(Json::Object(object))
}

/// The text of content in parts, a line each.
fn joined(name: &str, parts: &[Json]) -> Result<String, ApiError> {
    let mut lines = Vec::new();
    for part in parts {
        match part.get("type").and_then(Json::as_str) {
            Some("text") => match part.get("text") {
                Some(Json::String(text)) => lines.push(text.as_str()),
                other => return Err(wrong_type(&format!("{name}.text"), "a string", other.unwrap_or(&Json::Null))),
            },
            Some(kind @ ("image_url" | "input_audio" | "input_video" | "file" | "refusal")) => {
                let message = format!("Field '{name}': parts of type `{kind}` are not supported yet, `text` is");
                return Err(ApiError::unsupported(message));
            }
            _ => {
                return Err(ApiError::invalid(format!(
                    "Field '{name}': each part needs a \"type\", of which `text` is known"
                )));
            }
        }
    }
    Ok(lines.join("\n"))
}

/// Takes a last message of the assistant out of the list and returns its text.
fn take_prefill(messages: &mut Vec<Json>) -> Result<Option<String>, ApiError> {
    let from_assistant = |m: &Json| m.get("role").and_then(Json::as_str) == Some("assistant");
    if !messages.last().is_some_and(from_assistant) {
        return Ok(None);
    }
    let text = messages.pop().and_then(|m| m.get("content")?.as_str().map(str::to_owned));
    if messages.last().is_some_and(from_assistant) {
        let message = "Field 'messages': cannot have 2 or more assistant messages at the end of the list";
        return Err(ApiError::invalid(message));
    }
    Ok(text)
}

/// What the template is told: by the command line, then by the client.
fn kwargs(fields: &Fields, defaults: &Map<String, Json>) -> Result<Map<String, Json>, ApiError> {
    let mut kwargs = defaults.clone();
    kwargs.extend(fields.object("chat_template_kwargs")?.cloned().unwrap_or_default());
    match fields.string("reasoning_effort")? {
        None => {}
        Some("none") => drop(kwargs.insert("enable_thinking".to_owned(), Json::Bool(false))),
        Some(effort) => drop(kwargs.insert("reasoning_effort".to_owned(), effort.into())),
    }
    match kwargs.get("enable_thinking") {
        None | Some(Json::Bool(_)) => {}
        // Templates take any text for true, `"false"` too.
        Some(other) => return Err(wrong_type("chat_template_kwargs.enable_thinking", "a boolean", other)),
    }
    for name in OWN_VARIABLES {
        if kwargs.contains_key(*name) {
            let message = format!("Field 'chat_template_kwargs': `{name}` is a field of the request itself");
            return Err(ApiError::invalid(message));
        }
    }
    Ok(kwargs)
}

/// Templates write the token that begins a text; so does the tokenizer. One of them is enough.
fn drop_added_tokens(text: &mut String, model: &Model) {
    let bos = model.tokenizer.bos().filter(|_| model.tokenizer.adds_bos());
    if let Some(bos) = bos.and_then(|id| model.tokenizer.token_text(id))
        && !bos.is_empty()
        && text.starts_with(bos)
    {
        text.drain(..bos.len());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Fields, kwargs, message, take_prefill};

    fn fails(value: Json, words: &[&str]) {
        let error = message(3, &value).expect_err("refused").json().to_string();
        for word in words {
            assert!(error.contains(word), "`{word}` is not in {error}");
        }
    }

    #[test]
    fn parts_become_lines() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        let message = message(0, &json!({ "role": "user", "content": parts, "name": "x" })).unwrap();
        assert_eq!(message, json!({ "role": "user", "content": "a\nb", "name": "x" }));
    }

    #[test]
    fn calls_of_tools_need_no_content() {
        let value = json!({ "role": "assistant", "content": null, "tool_calls": [] });
        assert_eq!(message(0, &value).unwrap()["content"], "");
    }

    #[test]
    fn malformed_messages_are_named() {
        fails(json!("hi"), &["messages[3]", "an object"]);
        fails(json!({ "content": "hi" }), &["messages[3].role"]);
        fails(json!({ "role": 1, "content": "hi" }), &["messages[3].role", "but is 1"]);
        fails(json!({ "role": "user" }), &["messages[3].content"]);
        fails(json!({ "role": "user", "content": 5 }), &["messages[3].content", "but is 5"]);
        fails(json!({ "role": "user", "content": [{ "type": "text", "text": 1 }] }), &["messages[3].content.text"]);
        fails(json!({ "role": "user", "content": [{ "type": "image_url" }] }), &["image_url", "501"]);
        fails(json!({ "role": "user", "content": ["hi"] }), &["type"]);
    }

    #[test]
    fn one_last_assistant_message_is_a_prefill() {
        let user = json!({ "role": "user", "content": "hi" });
        let assistant = json!({ "role": "assistant", "content": "We" });
        let mut messages = vec![user.clone(), assistant.clone()];
        assert_eq!(take_prefill(&mut messages).unwrap().as_deref(), Some("We"));
        assert_eq!(messages, std::slice::from_ref(&user));
        assert_eq!(take_prefill(&mut messages).unwrap(), None);
        assert!(take_prefill(&mut vec![user, assistant.clone(), assistant]).is_err());
    }

    #[test]
    fn the_clients_variables_win_over_the_command_lines() {
        let defaults = json!({ "enable_thinking": false, "style": "brief" });
        let defaults = defaults.as_object().unwrap();
        let check = |body: Json, expect: Json| {
            let kwargs = kwargs(&Fields::from_json(body.clone()), defaults).unwrap();
            assert_eq!(Json::Object(kwargs), expect, "{body}");
        };
        check(json!({}), json!({ "enable_thinking": false, "style": "brief" }));
        let body = json!({ "chat_template_kwargs": { "enable_thinking": true }, "reasoning_effort": "low" });
        check(body, json!({ "enable_thinking": true, "style": "brief", "reasoning_effort": "low" }));
        let body = json!({ "chat_template_kwargs": { "enable_thinking": true }, "reasoning_effort": "none" });
        check(body, json!({ "enable_thinking": false, "style": "brief" }));
        for (variables, word) in [
            (json!({ "enable_thinking": "false" }), "a boolean"),
            (json!({ "messages": [] }), "`messages`"),
            (json!([1]), "an object"),
        ] {
            let fields = Fields::from_json(json!({ "chat_template_kwargs": variables }));
            let error = kwargs(&fields, defaults).expect_err("refused").json().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
