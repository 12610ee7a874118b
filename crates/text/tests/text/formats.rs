//! Built-in chat formats, against their published descriptions and the Jinja templates that they stand for.

use serde_json::{Map, Value as Json, json};
use text::{ChatInput, ChatTemplate};

use crate::data;

fn render(template: &ChatTemplate, messages: &Json, add_generation_prompt: bool) -> String {
    let input = ChatInput { messages, tools: None, add_generation_prompt, kwargs: &Map::new() };
    template.render(&input).expect("formats take every conversation")
}

fn message(role: &str, content: &str) -> Json {
    json!({ "role": role, "content": content })
}

/// What each format makes of one conversation with white space in the places where formats differ.
#[test]
fn every_format_is_as_described() {
    let text = data::read("text/formats.json").expect("a file of the project");
    let expected: Map<String, Json> = serde_json::from_str(&text).expect("JSON");
    let messages = json!([
        message("system", "S "),
        message("user", " U"),
        message("assistant", " A "),
        message("user", "V"),
        message("tool", " T")
    ]);
    let names: Vec<&str> = ChatTemplate::format_names().collect();
    assert_eq!(names, expected.keys().map(String::as_str).collect::<Vec<_>>());
    for name in names {
        let template = ChatTemplate::named(name).expect("a format of the list");
        assert_eq!(render(&template, &messages, true), expected[name].as_str().expect("a text"), "{name}");
    }
}

/// Conversations that begin without a system message, end with the user, or put the system's words elsewhere.
#[test]
fn beginnings_and_ends_have_their_rules() {
    let check = |name: &str, messages: Json, expect: &str| {
        let template = ChatTemplate::named(name).expect("a format");
        assert_eq!(render(&template, &messages, false), expect, "{name}");
    };
    let user = || json!([message("user", "U")]);
    check("bailing2", user(), "<role>SYSTEM</role>detailed thinking off<|role_end|><role>HUMAN</role>U<|role_end|>");
    check("pangu-embedded", user(), "[unused9]系统：[unused10][unused9]用户：U[unused10]");
    check("gigachat", user(), "<s>user<|role_sep|>U<|message_sep|>available functions<|role_sep|>[]<|message_sep|>");
    check("rwkv-world", user(), "User: U\n\nAssistant:");
    check("hunyuan-dense", user(), "<｜hy_User｜>U<｜hy_Assistant｜>");
    check("llama2-sys-bos", user(), "[INST] U [/INST]");
    check("monarch", user(), "user\nU</s>\n");
    let late = || json!([message("user", "U"), message("system", "S"), message("system", "T"), message("user", "V")]);
    check("gemma", late(), "<start_of_turn>user\nU<end_of_turn>\n<start_of_turn>user\nST\n\nV<end_of_turn>\n");
    check("orion", late(), "Human: U\n\nAssistant: </s>Human: ST\n\nV\n\nAssistant: </s>");
    check("hunyuan-dense", late(), "<｜hy_User｜>U<｜hy_Assistant｜><｜hy_User｜>V<｜hy_Assistant｜>");
    check("mistral-v3", late(), "[INST] U[/INST]S\n\nT\n\nV[/INST]");
    let parts =
        json!([{ "role": "user", "content": [{ "type": "text", "text": "U" }, { "type": "text", "text": "V" }] }]);
    check("chatml", parts, "<|im_start|>user\nU\nV<|im_end|>\n");
    check(
        "granite",
        json!([message("assistant_tool_call", "[]")]),
        "<|start_of_role|>assistant_tool_call<|end_of_role|><|tool_call|>[]<|end_of_text|>\n",
    );
}

/// How a template's rendering relates to its format's.
#[derive(Clone, Copy)]
enum Relation {
    Equal,
    /// The template has words of its own before the conversation.
    EndsWithFormat,
    /// The template adds the beginning of the answer's thoughts.
    BeginsWithFormat,
}

use Relation::{BeginsWithFormat, EndsWithFormat, Equal};

/// Templates of the test data, the format in them, and the golden contexts in which both say the same.
const SAME: &[(&str, &str, &[&str], Relation)] = &[
    ("ByteDance-Seed-OSS", "seed_oss", &["basic", "system", "nogen"], Equal),
    ("Kimi-K2-Instruct", "kimi-k2", &["system", "nogen"], Equal),
    ("moonshotai-Kimi-K2", "kimi-k2", &["system", "nogen"], Equal),
    ("LFM2-8B-A1B", "chatml", &["basic", "system", "nogen"], Equal),
    ("LFM2.5-8B-A1B", "chatml", &["basic", "system", "nogen"], Equal),
    ("LFM2.5-Instruct", "chatml", &["basic", "system", "nogen"], Equal),
    ("Qwen-QwQ-32B", "chatml", &["nogen"], Equal),
    ("Qwen-Qwen2.5-7B-Instruct", "chatml", &["system", "nogen"], Equal),
    ("Qwen-Qwen2.5-7B-Instruct", "chatml", &["basic"], EndsWithFormat),
    ("Qwen-Qwen3-0.6B", "chatml", &["basic", "system"], Equal),
    ("Qwen3.5-4B", "chatml", &["basic"], BeginsWithFormat),
    ("ibm-granite-granite-3.3-2B-Instruct", "granite", &["system", "nogen"], Equal),
    ("ibm-granite-granite-3.3-2B-Instruct", "granite", &["basic"], EndsWithFormat),
    ("ibm-granite-granite-4.1", "granite", &["basic", "system", "nogen", "parts"], Equal),
    ("microsoft-Phi-3.5-mini-instruct", "phi3", &["basic", "system"], Equal),
    ("meta-llama-Llama-3.1-8B-Instruct", "llama3", &["basic"], EndsWithFormat),
    ("meta-llama-Llama-3.3-70B-Instruct", "llama3", &["basic"], EndsWithFormat),
    ("meetkai-functionary-medium-v3.1", "llama3", &["basic"], EndsWithFormat),
    ("openai-gpt-oss-120b", "gpt-oss", &["basic"], EndsWithFormat),
    ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek3", &["basic"], BeginsWithFormat),
    ("deepseek-ai-DeepSeek-V3.1", "deepseek3", &["basic"], BeginsWithFormat),
    ("GLM-4.6", "glmedge", &["basic"], EndsWithFormat),
    ("mistralai-Ministral-3-14B-Reasoning-2512", "mistral-v7-tekken", &["system", "nogen"], Equal),
    ("unsloth-mistral-Devstral-Small-2507", "mistral-v7-tekken", &["system", "nogen"], Equal),
    ("unsloth-mistral-Devstral-Small-2507", "mistral-v7-tekken", &["basic"], EndsWithFormat),
];

#[test]
fn formats_write_what_their_models_templates_write() {
    let Some(golden) = data::read("templates/golden.json") else { return };
    let golden: Json = serde_json::from_str(&golden).expect("JSON");
    for (file, name, contexts, relation) in SAME {
        let format = ChatTemplate::named(name).expect("a format");
        for context_name in *contexts {
            let context = &golden["contexts"][context_name];
            let generate = context["add_generation_prompt"].as_bool().expect("a boolean");
            let ours = render(&format, &context["messages"], generate);
            let golden = golden["rendered"][format!("{file}.jinja")][context_name]["ok"].as_str().expect("a text");
            // The tokenizer adds the token that begins a text.
            let golden = golden.strip_prefix("<s>").unwrap_or(golden);
            let holds = match relation {
                Equal => golden == ours,
                EndsWithFormat => golden.ends_with(&ours),
                BeginsWithFormat => golden.starts_with(&ours),
            };
            assert!(holds, "{file}, {context_name}:\n  {ours:?}\n  {golden:?}");
        }
    }
}

#[test]
fn templates_are_recognized() {
    for (file, expected) in [
        ("ByteDance-Seed-OSS", Some("seed_oss")),
        ("CohereForAI-c4ai-command-r-plus-tool_use", Some("command-r")),
        ("GLM-4.6", Some("chatglm4")),
        ("Kimi-K2-Instruct", Some("kimi-k2")),
        ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", Some("chatml")),
        ("deepseek-ai-DeepSeek-V3.1", Some("deepseek3")),
        ("ibm-granite-granite-4.1", Some("granite")),
        ("inclusionai-ling-3.0-flash", Some("bailing2")),
        ("meta-llama-Llama-3.3-70B-Instruct", Some("llama3")),
        ("microsoft-Phi-3.5-mini-instruct", Some("phi3")),
        ("openai-gpt-oss-120b", Some("gpt-oss")),
        ("unsloth-mistral-Devstral-Small-2507", Some("mistral-v7")),
        ("MiniMax-M2", None),
        ("google-gemma-4-31B-it", None),
    ] {
        let Some(source) = data::read(&format!("templates/{file}.jinja")) else { return };
        let template = ChatTemplate::without_jinja(&source);
        assert_eq!(template.as_ref().and_then(ChatTemplate::format_name), expected, "{file}");
        assert!(template.is_none_or(|t| t.source() == source), "{file}: the source is kept");
    }
}
