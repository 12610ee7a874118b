//! Chat templates of real models, against Jinja2 set up as transformers does.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value as Json};
use text::{ChatInput, ChatTemplate};

use crate::data;

/// Where ours is known to differ, and why that does no harm.
const DIFFERENT: &[(&str, &[&str], &str)] = &[
    (
        "LFM2.5-8B-A1B.jinja",
        &["toolcall-last"],
        "a loop over `null` content: Python fails, ours runs it no times; the server sends \"\" for null anyway",
    ),
    (
        "llama-cpp-deepseek-r1.jinja",
        &["tools", "toolcall", "toolcall-last", "toolcall-str"],
        "a generator is given to tojson: Python fails, ours writes it as the list that is meant",
    ),
    (
        "meetkai-functionary-medium-v3.1.jinja",
        &["tools", "toolcall", "toolcall-last", "toolcall-str"],
        "Python escapes for HTML (`&#34;`) what is added to a text marked `safe`, which no model was meant to see; ours does not",
    ),
];

/// 2026-11-23 01:02:03 UTC, when the golden renderings were made.
fn clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_395_723)
}

/// Renders a template with a context of the golden file.
fn render(template: &ChatTemplate, context: &Map<String, Json>) -> Result<String, String> {
    let mut kwargs = context.clone();
    let messages = kwargs.remove("messages").expect("a conversation");
    let tools = kwargs.remove("tools");
    let add_generation_prompt = kwargs.remove("add_generation_prompt").and_then(|v| v.as_bool()).expect("a boolean");
    let input = ChatInput { messages: &messages, tools: tools.as_ref(), add_generation_prompt, kwargs: &kwargs };
    template.render(&input).map_err(|e| e.to_string())
}

#[test]
fn renderings_equal_those_of_jinja2() {
    let Some(golden) = data::read("templates/golden.json") else { return };
    let golden: Json = serde_json::from_str(&golden).expect("JSON");
    let contexts = golden["contexts"].as_object().expect("contexts by name");
    let mut known: BTreeSet<_> =
        DIFFERENT.iter().flat_map(|(file, names, _)| names.iter().map(|n| (*file, *n))).collect();
    let num_known = known.len();
    let (mut num_equal, mut num_both_fail) = (0, 0);
    for (file, renderings) in golden["rendered"].as_object().expect("renderings by template") {
        let Some(source) = data::read(&format!("templates/{file}")) else { return };
        let template = ChatTemplate::from_source(file, &source, "<s>", "</s>").expect("a sound template");
        let template = template.with_clock(clock).expect("it compiled before");
        for (name, expected) in renderings.as_object().expect("renderings by context") {
            let found = render(&template, contexts[name].as_object().expect("a context"));
            let (is_equal, both_fail) = match (&found, expected["ok"].as_str()) {
                (Ok(text), Some(expected)) => (text == expected, false),
                (found, expected) => (false, found.is_err() && expected.is_none()),
            };
            let is_known = known.remove(&(file.as_str(), name.as_str()));
            assert_ne!(is_equal || both_fail, is_known, "{file}, {name}:\n  {found:?}\n  {expected:?}");
            num_equal += u32::from(is_equal);
            num_both_fail += u32::from(both_fail);
        }
    }
    assert!(known.is_empty(), "listed as different, but not in the golden file: {known:?}");
    eprintln!("{num_equal} equal, {num_both_fail} fail in both, {num_known} different as listed");
}
