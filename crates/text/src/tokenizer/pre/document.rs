//! The table of docs/tokenizers.md is that of the code.

use super::{Alphabet, PRE_TOKENIZERS, PreTokenizer};

/// Rows whose ids are those of llama.cpp on a vocabulary of its own (`vocabularies.rs`).
const VOCABULARIES: &[&str] =
    &["llama-bpe", "qwen2", "gpt-2", "starcoder", "command-r", "falcon", "deepseek-coder", "gemma4"];

fn root(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn rules(row: &PreTokenizer) -> String {
    let rules = [
        (row.alphabet == Alphabet::Raw, "raw text, spaces as `▁`"),
        (row.ignore_merges, "words that are tokens stay whole"),
        (row.whole_newlines, "newlines that are a token stay whole"),
        (row.add_bos, "BOS unless the file says otherwise"),
        (row.always_bos, "BOS always"),
        (row.add_separator, "pairs are separated"),
    ];
    rules.into_iter().filter(|(holds, _)| *holds).map(|(_, rule)| rule).collect::<Vec<_>>().join("; ")
}

fn table() -> String {
    let golden: serde_json::Value = serde_json::from_str(&root("tests/data/text/pre.json")).expect("JSON");
    let words = golden["words"].as_object().expect("words by row");
    let line = |row: &PreTokenizer| {
        let ids: Vec<&str> = row.names.iter().copied().filter(|name| VOCABULARIES.contains(name)).collect();
        let mut proofs = Vec::new();
        if row.names.iter().any(|name| words.contains_key(*name)) {
            proofs.push("original patterns".to_owned());
        }
        if !ids.is_empty() {
            proofs.push(format!("ids of {}", quoted(&ids)));
        }
        format!("| {} | {} | {} | {} |\n", quoted(row.names), row.steps.len(), rules(row), proofs.join("; "))
    };
    PRE_TOKENIZERS.iter().map(line).collect()
}

#[test]
fn the_document_has_the_table() {
    let table = table();
    assert!(root("docs/tokenizers.md").contains(&table), "docs/tokenizers.md must hold this table:\n{table}");
}

#[test]
fn most_rows_are_proven() {
    let unproven: Vec<String> = table()
        .lines()
        .filter(|line| line.ends_with("|  |"))
        .map(|line| line.split(" | ").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(unproven, ["| `afmoe`"], "only these have no reference");
}
