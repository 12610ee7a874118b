//! Templates that try to harm: each ends quickly, in an error, and harms no other.

use std::time::{Duration, Instant};

use serde_json::{Map, json};
use text::{ChatInput, ChatTemplate, TextError};

/// Far more than any of them takes, but for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);

fn render(source: &str) -> Result<String, TextError> {
    let template = ChatTemplate::from_source("test.jinja", source, "<s>", "</s>")?;
    let messages = json!([{"role": "user", "content": "hi"}]);
    template.render(&ChatInput { messages: &messages, tools: None, add_generation_prompt: true, kwargs: &Map::new() })
}

/// The error of a template, which must come soon.
fn error(source: &str) -> String {
    let started = Instant::now();
    let rendered = render(source);
    assert!(started.elapsed() < PATIENCE, "{} took {:?}", &source[..source.len().min(200)], started.elapsed());
    match rendered {
        Ok(text) => panic!("{} bytes came of {}", text.len(), &source[..source.len().min(200)]),
        Err(e) => e.to_string(),
    }
}

#[test]
fn endless_work_is_cut_off() {
    let nested = "{% for i in range(99999) %}".repeat(4) + "x" + &"{% endfor %}".repeat(4);
    let doubled =
        "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}";
    let multiplied = "{{ 'ab' * 50000000 }}{{ 'ab' * 50000000 }}";
    let replaced = "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}";
    let shared = "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}";
    let printed = shared.to_owned() + "{{ n.x }}";
    let dumped = shared.to_owned() + "{{ n.x | tojson(indent=16) }}";
    let joined = "{% set a = 'a' * 100000 %}{{ (a | list) | join(a) }}";
    for source in [&nested, doubled, multiplied, replaced, &printed, &dumped, joined] {
        let message = error(source);
        let expected = ["steps", "nested more than 200 deep", "string is too long"];
        assert!(expected.iter().any(|e| message.contains(e)), "{message}");
    }
}

#[test]
fn endless_recursion_is_cut_off() {
    let macros = "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}";
    let loops = "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}";
    for source in [macros, loops] {
        let message = error(source);
        assert!(message.contains("recursion limit exceeded"), "{message}");
    }
    let deep = ["(", "[", "{% if x %}", "{{ not ", "{{ -", "{% for x in y %}"].map(|part| part.repeat(100_000));
    for source in [format!("{{{{ {}", deep[0]), format!("{{{{ {}", deep[1])].iter().chain(&deep[2..]) {
        error(source);
    }
}

#[test]
fn values_nested_without_end_harm_no_stack() {
    let nest = |rounds: u32| {
        let deeper = format!("{}n.x{}", "[".repeat(20), "]".repeat(20));
        format!(
            "{{% set n = namespace(x=[]) %}}{{% for i in range({rounds}) %}}{{% for j in range(99) %}}\
             {{% set n.x = {deeper} %}}{{% endfor %}}{{% endfor %}}"
        )
    };
    assert!(error(&nest(99_999)).contains("steps"));
    // So deep that the steps just suffice. Values are then dropped, compared, hashed, sorted and printed.
    let nest = nest(48);
    for end in ["", "{{ n.x == [n.x] }}", "{% if n.x in [[n.x]] %}{% endif %}"] {
        render(&(nest.clone() + end)).expect("steps suffice");
    }
    for end in [
        "{{ n.x ~ '' }}",
        "{{ n.x | string }}",
        "{{ n.x | tojson }}",
        "{{ n.x }}",
        "{{ debug(n.x) }}{{ 1 / 0 }}",
        "{{ [n.x, n.x] | unique | list }}",
        "{{ [n.x, [n.x]] | sort }}",
        "{{ {n.x: 1} }}",
    ] {
        error(&(nest.clone() + end));
    }
}

/// A long conversation allows more steps, and no more than the stack has room for.
#[test]
fn values_nested_along_a_long_conversation_harm_no_stack() {
    let deeper = format!("{}n.x{}", "[".repeat(40), "]".repeat(40));
    let source = format!(
        "{{% set n = namespace(x=[]) %}}{{% for m in messages %}}{{% for j in range(99) %}}{{% set n.x = {deeper} %}}\
         {{% endfor %}}{{% endfor %}}"
    );
    let messages = |count: usize| json!(vec![json!({"role": "user", "content": "word ".repeat(1000)}); count]);
    let render = |source: &str, count: usize| {
        let template = ChatTemplate::from_source("test.jinja", source, "<s>", "</s>").expect("a sound template");
        let input =
            ChatInput { messages: &messages(count), tools: None, add_generation_prompt: true, kwargs: &Map::new() };
        template.render(&input)
    };
    // As deep as the steps of so many messages suffice for, compared and dropped.
    render(&(source.clone() + "{{ n.x == [n.x] }}"), 50).expect("steps suffice");
    let message = render(&source, 2000).expect_err("too many steps").to_string();
    assert!(message.contains("more than 1048576 steps"), "{message}");
}

#[test]
fn a_failure_says_where_and_why() {
    for (source, expected) in [
        (
            "a\n{{ raise_exception('roles must alternate') }}",
            "the chat template `test.jinja` failed: line 2: invalid operation: roles must alternate",
        ),
        ("{{ messages[0].content.nope.nope }}", "the chat template `test.jinja` failed: line 1: undefined value"),
        ("a\n\n{% if %}", "the chat template `test.jinja` does not compile: line 3: syntax error: "),
        ("{{ messages | nofilter }}", "line 1: unknown filter: "),
        ("{% include 'other' %}", "line 1: template not found: "),
    ] {
        let message = error(source);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn long_conversations_have_steps_enough() {
    let source = "{% for message in messages %}{% for other in messages[:20] %}{% if other.role == 'x' %}{% endif %}\
                  {% endfor %}{{ message['role'] + ': ' + message['content'].strip() + '\n' }}{% endfor %}";
    let template = ChatTemplate::from_source("test.jinja", source, "<s>", "</s>").expect("a sound template");
    let messages: Vec<_> = (0..2000).map(|_| json!({"role": "user", "content": "word ".repeat(50)})).collect();
    let messages = json!(messages);
    let input = ChatInput { messages: &messages, tools: None, add_generation_prompt: true, kwargs: &Map::new() };
    assert_eq!(template.render(&input).expect("it renders").len(), 2000 * ("user: \n".len() + 249));
}

#[test]
fn chatml_is_used_where_there_is_no_template() {
    let metadata = crate::fixture::byte_level_metadata();
    let template = ChatTemplate::from_metadata(&metadata, &crate::fixture::byte_level()).expect("ChatML");
    let messages = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]);
    let input = ChatInput { messages: &messages, tools: None, add_generation_prompt: true, kwargs: &Map::new() };
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template.render(&input).expect("it renders"), expected);
}
