//! The front matter of a model card: the part of YAML that model cards use.

use std::path::Path;

use crate::{ConvertError, json::read_text};

/// Top-level keys with texts or lists of texts; deeper structures are passed over.
#[derive(Debug, Default)]
pub(super) struct Card {
    entries: Vec<(String, Vec<String>)>,
}

impl Card {
    /// Reads `README.md` of a folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Self, ConvertError> {
        let path = folder.join("README.md");
        if path.is_file() { Ok(Self::parse(&read_text(&path)?)) } else { Ok(Self::default()) }
    }

    /// The single text of a key.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.get(key) {
            [text] => Some(text.clone()),
            _ => None,
        }
    }

    /// All texts of a key with commas between them.
    pub(super) fn joined(&self, key: &str) -> Option<String> {
        Some(self.get(key).join(",")).filter(|joined| !joined.is_empty())
    }

    /// All texts of a key.
    pub(super) fn list(&self, key: &str) -> Vec<String> {
        self.get(key).to_vec()
    }

    fn get(&self, key: &str) -> &[String] {
        self.entries.iter().find(|(k, _)| k == key).map_or(&[], |(_, texts)| texts)
    }

    fn parse(text: &str) -> Self {
        let mut card = Self::default();
        let mut lines = text.lines();
        if lines.next() != Some("---") {
            return card;
        }
        for line in lines.take_while(|line| *line != "---") {
            if let Some(item) = line.trim_start().strip_prefix("- ") {
                let is_text = !item.contains(": ") && !item.ends_with(':');
                if let (Some((_, texts)), true) = (card.entries.last_mut(), is_text) {
                    texts.push(unquoted(item));
                }
            } else if let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '#', '\t'])) {
                card.entries.push((key.trim().to_owned(), values(value.trim())));
            }
        }
        card
    }
}

fn values(text: &str) -> Vec<String> {
    if text.is_empty() || text.starts_with(['|', '>', '{']) {
        return Vec::new();
    }
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(list) => list.split(',').map(unquoted).filter(|t| !t.is_empty()).collect(),
        None => vec![unquoted(text)],
    }
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let quoted = |quote| text.strip_prefix(quote).and_then(|t: &str| t.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::Card;

    #[test]
    fn texts_and_lists_are_read() {
        let card = Card::parse(
            "---\nlicense: apache-2.0\ntags:\n- unsloth\n- \"trl\"\nlanguage: [en, de]\nbase_model: a/b\n\
             model-index:\n- name: x\n  results: []\n---\nlicense: none\n",
        );
        assert_eq!(card.text("license").as_deref(), Some("apache-2.0"));
        assert_eq!(card.list("tags"), ["unsloth", "trl"]);
        assert_eq!(card.joined("language").as_deref(), Some("en,de"));
        assert_eq!((card.list("base_model"), card.list("model-index")), (vec!["a/b".to_owned()], Vec::new()));
        assert!(Card::parse("# Title\nlicense: mit").text("license").is_none());
    }
}
