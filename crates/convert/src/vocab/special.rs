//! Special tokens, whether they are added by themselves, and chat templates.

use std::{collections::BTreeMap, fs, path::Path};

use gguf::{Array, Metadata, Value};
use serde_json::Value as JsonValue;

use super::{TokenizerFiles, bpe::added_tokens};
use crate::{
    ConvertError,
    arch::VocabRules,
    config::Config,
    json::{Json, read_text},
};

/// The kinds of special tokens and their keys.
const KINDS: &[(&str, &str)] = &[
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"),
    ("pad", "padding_token_id"),
    ("mask", "mask_token_id"),
    ("eot", "eot_token_id"),
    ("eom", "eom_token_id"),
];
/// The kinds that a tokenizer's files name.
const NUM_NAMED_KINDS: usize = 6;

#[derive(Default)]
struct Special<'a> {
    /// The text of each kind of token.
    texts: BTreeMap<&'static str, &'a str>,
    /// The first token of an encoder's texts, which has no key of its own.
    cls: Option<&'a str>,
    /// Which kinds are added to a text.
    added: BTreeMap<&'static str, bool>,
}

/// Writes special tokens and chat templates.
pub(super) fn set(
    files: &TokenizerFiles<'_>,
    config: &Config,
    rules: VocabRules,
    num_tokens: usize,
    metadata: &mut Metadata,
) -> Result<(), ConvertError> {
    let special = find(files);
    let added = files.tokenizer.as_ref().map(added_tokens).transpose()?.unwrap_or_default();
    let id_of = |text: &str| added.iter().find(|t| t.text == text).map(|t| t.id as u64);
    for (kind, key) in KINDS {
        let named = special.texts.get(kind).and_then(|text| id_of(text));
        let by_config = || config.json.get(&format!("{kind}_token_id")).and_then(JsonValue::as_u64);
        let by_rule = || rules.special.iter().find(|(k, _)| k == kind).map(|(_, id)| *id);
        let by_text = rules.special_texts.iter().find(|(k, _)| k == kind).and_then(|(_, text)| id_of(text));
        let ids = [named, by_config(), by_text, by_rule()];
        if let Some(id) = ids.into_iter().flatten().find(|&id| id < num_tokens as u64) {
            metadata.insert(format!("tokenizer.ggml.{key}"), Value::Uint(id));
        }
    }
    for (kind, add) in special.added {
        metadata.insert(format!("tokenizer.ggml.add_{kind}_token"), Value::Bool(add));
    }
    if let Some(normalizer) = files.tokenizer.as_ref().and_then(|t| t.get("normalizer")) {
        set_normalizer(normalizer, metadata);
    }
    set_templates(files, metadata)
}

/// What is done to letters before they are looked up.
fn set_normalizer(normalizer: &JsonValue, metadata: &mut Metadata) {
    let mut set = |key: &str, value: Option<&JsonValue>| {
        if let Some(value) = value.and_then(JsonValue::as_bool) {
            metadata.insert(format!("tokenizer.ggml.normalizer.{key}"), Value::Bool(value));
        }
    };
    match normalizer.get("type").and_then(JsonValue::as_str) {
        Some("Lowercase") => set("lowercase", Some(&JsonValue::Bool(true))),
        Some("StripAccents") => set("strip_accents", Some(&JsonValue::Bool(true))),
        Some("BertNormalizer") => {
            set("lowercase", normalizer.get("lowercase"));
            set("strip_accents", normalizer.get("strip_accents"));
        }
        Some("Sequence") => {
            let steps = normalizer.get("normalizers").and_then(JsonValue::as_array);
            steps.into_iter().flatten().for_each(|step| set_normalizer(step, metadata));
        }
        _ => {}
    }
}

fn find<'a>(files: &'a TokenizerFiles<'_>) -> Special<'a> {
    let mut special = Special::default();
    for (kind, _) in &KINDS[..NUM_NAMED_KINDS] {
        let entry = files.config.as_ref().and_then(|c| c.get(&format!("{kind}_token")));
        if let Some(text) = entry.and_then(text_of) {
            special.texts.insert(kind, text);
        }
    }
    // Encoders name what stands before and behind a text differently.
    let text = |key: &str| files.config.as_ref().and_then(|c| c.get(key)).and_then(text_of);
    for (kind, other) in [("bos", "cls_token"), ("eos", "sep_token")] {
        if let Some(text) = text(other) {
            special.texts.entry(kind).or_insert(text);
        }
    }
    special.cls = text("cls_token");
    let post = files.tokenizer.as_ref().and_then(|t| t.get("post_processor"));
    if let Some(post) = post {
        let processors = post.get("processors").and_then(JsonValue::as_array);
        let processors = processors.map_or(std::slice::from_ref(post), Vec::as_slice);
        processors.iter().for_each(|p| read_processor(p, &mut special));
    }
    for (kind, _) in &KINDS[..NUM_NAMED_KINDS] {
        let add = files.config.as_ref().and_then(|c| c.get(&format!("add_{kind}_token"))).and_then(JsonValue::as_bool);
        if let Some(add) = add {
            special.added.entry(kind).or_insert(add);
        }
    }
    special
}

/// What a post-processor puts around a text.
fn read_processor<'a>(processor: &'a JsonValue, special: &mut Special<'a>) {
    match processor.get("type").and_then(JsonValue::as_str) {
        Some("ByteLevel") => {
            special.added.entry("bos").or_insert(false);
            special.added.entry("eos").or_insert(false);
        }
        Some("RobertaProcessing") => {
            for kind in ["bos", "eos", "sep"] {
                special.added.insert(kind, true);
            }
        }
        Some("TemplateProcessing") => read_template(processor, special),
        _ => {}
    }
}

fn read_template<'a>(processor: &'a JsonValue, special: &mut Special<'a>) {
    let list = |key: &str| processor.get(key).and_then(JsonValue::as_array).map_or(&[][..], Vec::as_slice);
    let single = list("single");
    let (first, last) =
        if single.len() > 1 { (token_of(single.first()), token_of(single.last())) } else { (None, None) };
    if let Some(first) = first {
        let bos = *special.texts.entry("bos").or_insert(first);
        special.added.insert("bos", bos == first || special.cls == Some(first));
    }
    if let Some(last) = last {
        let eos = special.texts.insert("eos", last);
        // A chat model's own end of turn stays known beside the end that the tokenizer adds.
        if let Some(eos) = eos.filter(|&eos| eos != last) {
            special.texts.insert("eot", eos);
        }
        special.added.insert("eos", true);
    }
    add_separator(list("pair"), (first, last), special);
}

/// Whether a pair of texts gets a separator between them.
fn add_separator(pair: &[JsonValue], (first, last): (Option<&str>, Option<&str>), special: &mut Special<'_>) {
    let start = usize::from(first.is_some() && token_of(pair.first()) == first);
    let end = pair.len() - usize::from(last.is_some() && token_of(pair.last()) == last);
    let sequence = |entry: Option<&JsonValue>| {
        entry.and_then(|e| e.get("Sequence")).and_then(|s| s.get("id")).and_then(JsonValue::as_str).map(str::to_owned)
    };
    let inner = pair.get(start..end).unwrap_or(&[]);
    let is_a_to_b = sequence(inner.first()).as_deref() == Some("A") && sequence(inner.last()).as_deref() == Some("B");
    let Some(between) = inner.get(1..inner.len().saturating_sub(1)).filter(|b| is_a_to_b && !b.is_empty()) else {
        return;
    };
    let is_separator = |text: Option<&str>| {
        text.is_some() && (text == special.texts.get("sep").copied() || text == special.texts.get("eos").copied())
    };
    let add = is_separator(token_of(between.first())) && last.is_none()
        || between.len() == 2 && is_separator(token_of(between.last()));
    special.added.insert("sep", add);
}

/// A token that is given by its text, or as an object.
fn text_of(entry: &JsonValue) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("content").and_then(JsonValue::as_str))
}

fn token_of(entry: Option<&JsonValue>) -> Option<&str> {
    entry?.get("SpecialToken")?.get("id")?.as_str()
}

/// `tokenizer_config.json` first, then `chat_template.jinja` with `additional_chat_templates`, then `chat_template.json`.
fn set_templates(files: &TokenizerFiles<'_>, metadata: &mut Metadata) -> Result<(), ConvertError> {
    let key = "chat_template";
    let mut templates = named(files.config.as_ref().and_then(|c| c.get(key)));
    if templates.is_empty() {
        templates = of_jinja_files(files.folder)?;
    }
    if templates.is_empty() {
        let json = Json::read_optional(&files.folder.join("chat_template.json"))?;
        templates = named(json.as_ref().and_then(|j| j.get(key)));
    }
    let mut names = Vec::new();
    for (name, template) in templates {
        if name == "default" {
            metadata.insert("tokenizer.chat_template", Value::String(template));
        } else {
            metadata.insert(format!("tokenizer.chat_template.{name}"), Value::String(template));
            names.push(name);
        }
    }
    if !names.is_empty() {
        metadata.insert("tokenizer.chat_templates", Value::Array(Array::String(names.into())));
    }
    Ok(())
}

/// One template, or a list of objects with `name` and `template`.
fn named(value: Option<&JsonValue>) -> Vec<(String, String)> {
    match value {
        Some(JsonValue::String(template)) => vec![("default".to_owned(), template.clone())],
        Some(JsonValue::Array(list)) => list
            .iter()
            .filter_map(|entry| {
                let text = |key: &str| entry.get(key).and_then(JsonValue::as_str);
                Some((plain(text("name")?), text("template")?.to_owned()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn of_jinja_files(folder: &Path) -> Result<Vec<(String, String)>, ConvertError> {
    let path = folder.join("chat_template.jinja");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut templates = vec![("default".to_owned(), read_text(&path)?)];
    let mut further: Vec<_> = fs::read_dir(folder.join("additional_chat_templates"))
        .map(|entries| entries.filter_map(|e| Some(e.ok()?.path())).collect())
        .unwrap_or_default();
    further.sort();
    for path in further.iter().filter(|p| p.extension().is_some_and(|e| e == "jinja")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        templates.push((plain(&name), read_text(path)?));
    }
    Ok(templates)
}

/// A name of letters and digits.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
