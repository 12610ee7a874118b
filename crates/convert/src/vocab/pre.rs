//! Finds the pre-tokenizer by the rules in `tokenizer.json`.
//!
//! Rules, not a hash of what some text becomes: they stay the same when a model is fine-tuned with more tokens. Names are
//! those of llama.cpp; where several names stand for the same rules the architecture chooses.

use serde_json::Value;

use crate::{ConvertError, json::Json};

/// The steps of a pre-tokenizer, what merges do, and its names: for some architectures, and else. A step that ends in `…` is
/// the beginning of one: of long lists of letters, which files write in different ways.
struct Known {
    steps: &'static [&'static str],
    ignores_merges: Option<bool>,
    by_arch: &'static [(&'static str, &'static str)],
    name: &'static str,
}

const QWEN2: &str = r"Split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"Split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"Split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED: &str = r"Split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"Split [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"Split [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3_WORDS: &str = r##"Split [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

const LINE_ENDS: &str = r"Split [\r\n]";
const CJK: &str = "Split [一-龥…";

const KNOWN: &[Known] = &[
    known(&[QWEN2, "ByteLevel"], &[("stablelm", "stablelm2")], "qwen2"),
    Known { ignores_merges: Some(true), ..known(&[LLAMA3, "ByteLevel"], &[], "llama-bpe") },
    known(&[LLAMA3, "ByteLevel"], &[("glm4", "glm4"), ("smollm3", "smaug-bpe"), ("llama", "smaug-bpe")], "dbrx"),
    known(&[SEED, "ByteLevel"], &[], "seed-coder"),
    known(&[QWEN35, "ByteLevel"], &[], "qwen35"),
    known(&[GPT4O, "ByteLevel"], &[("llama4", "llama4")], "gpt-4o"),
    known(&[TEKKEN, "ByteLevel"], &[], "tekken"),
    known(&["Split \\p{N}{1,3}", "Split [一-龥\u{3040}-ゟ゠-ヿ]+", DEEPSEEK3_WORDS, "ByteLevel"], &[], "deepseek-v3"),
    known(
        &[LINE_ENDS, "Split \\s?[A-Za-zµ…", "Split \\s?[!-/:-~…", "Split \\s+$", CJK, "Digits single", "ByteLevel"],
        &[],
        "deepseek-llm",
    ),
    known(
        &[LINE_ENDS, "Split \\s?\\p{L}+", "Split \\s?\\p{P}+", CJK, "Digits single", "ByteLevel"],
        &[],
        "deepseek-coder",
    ),
    known(
        &["ByteLevel words"],
        &[("olmo", "olmo"), ("olmoe", "olmo"), ("gptneox", "olmo"), ("exaone4", "exaone4"), ("bert", "roberta-bpe")],
        "gpt-2",
    ),
    known(
        &["Digits single", "ByteLevel words"],
        &[
            ("command-r", "command-r"),
            ("cohere2", "command-r"),
            ("granite", "refact"),
            ("granitemoe", "refact"),
            ("exaone", "exaone"),
            ("llama", "smollm"),
        ],
        "starcoder",
    ),
    known(&["Punctuation Contiguous", "ByteLevel words", "Digits", "Split [0-9][0-9][0-9]"], &[], "falcon"),
];

const fn known(
    steps: &'static [&'static str],
    by_arch: &'static [(&'static str, &'static str)],
    name: &'static str,
) -> Known {
    Known { steps, ignores_merges: None, by_arch, name }
}

impl Known {
    fn has(&self, steps: &[String]) -> bool {
        let same = |(known, step): (&&str, &String)| match known.strip_suffix('…') {
            Some(beginning) => step.starts_with(beginning),
            None => step == known,
        };
        self.steps.len() == steps.len() && self.steps.iter().zip(steps).all(same)
    }
}

/// The name of the pre-tokenizer.
pub(super) fn detect(tokenizer: &Json, arch: &str) -> Result<String, ConvertError> {
    let mut steps = Vec::new();
    tokenizer.get("pre_tokenizer").into_iter().for_each(|p| collect(p, &mut steps));
    let ignores_merges = tokenizer.get("model").and_then(|m| m.get("ignore_merges")).and_then(Value::as_bool);
    let found =
        KNOWN.iter().find(|k| k.has(&steps) && k.ignores_merges.is_none_or(|i| i == ignores_merges.unwrap_or(false)));
    let Some(found) = found else {
        let what = format!(
            "has a pre-tokenizer that is not known ({}); if you know its name in llama.cpp, give it with `--pre NAME`",
            if steps.is_empty() { "none".to_owned() } else { steps.join(", then ") }
        );
        return Err(ConvertError::invalid(&tokenizer.path, what));
    };
    let by_arch = found.by_arch.iter().find(|(a, _)| *a == arch);
    Ok(by_arch.map_or(found.name, |(_, name)| name).to_owned())
}

/// Appends the steps of a pre-tokenizer, each in words.
fn collect(pre: &Value, steps: &mut Vec<String>) {
    let text = |key: &str| pre.get(key).and_then(Value::as_str);
    let flag = |key: &str, default| pre.get(key).and_then(Value::as_bool).unwrap_or(default);
    match text("type") {
        Some("Sequence") => {
            pre.get("pretokenizers").and_then(Value::as_array).into_iter().flatten().for_each(|p| collect(p, steps));
        }
        Some("Split") => {
            let pattern = pre.get("pattern");
            let regex = pattern.and_then(|p| p.get("Regex").or_else(|| p.get("String"))).and_then(Value::as_str);
            steps.push(format!("Split {}", normalized(regex.unwrap_or_default())));
        }
        Some("ByteLevel") => {
            steps.push(if flag("use_regex", true) { "ByteLevel words" } else { "ByteLevel" }.to_owned())
        }
        Some("Digits") => {
            steps.push(if flag("individual_digits", false) { "Digits single" } else { "Digits" }.to_owned())
        }
        Some("Punctuation") => steps.push(format!("Punctuation {}", text("behavior").unwrap_or("Isolated"))),
        Some(other) => steps.push(other.to_owned()),
        None => {}
    }
}

/// Some files write line ends as escapes, some as themselves.
fn normalized(regex: &str) -> String {
    regex.replace('\r', r"\r").replace('\n', r"\n")
}
