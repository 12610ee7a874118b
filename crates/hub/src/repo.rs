//! Names of models and files, checked before they become a part of a path or a URL.

use std::{fmt, str::FromStr};

use crate::HubError;

/// Longest name of a repository or file, in bytes.
const MAX_NAME_BYTES: usize = 512;

/// `USER/MODEL` or `USER/MODEL:QUANT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// `USER/MODEL`: two parts of letters, digits, `_`, `-` and `.`, the last two only between others.
    pub repo: String,
    /// Which of the repository's quantizations, e.g. `Q4_K_M`.
    pub quant: Option<String>,
}

impl FromStr for ModelRef {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let wrong = || HubError::RepoName(text.to_owned());
        let (repo, quant) = match text.split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None => (text, None),
        };
        if !is_repo(repo) || !quant.is_none_or(is_quant) {
            return Err(wrong());
        }
        Ok(Self { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.quant.iter().try_for_each(|quant| write!(f, ":{quant}"))
    }
}

/// The hub's rule, which llama.cpp checks too: no `..`, no `--`, no part that begins or ends with a special character.
pub(crate) fn is_repo(name: &str) -> bool {
    let mut parts = name.split('/');
    let is_part = |part: &str| {
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        part.split(['.', '-']).all(word)
    };
    name.len() <= MAX_NAME_BYTES && parts.by_ref().take(2).filter(|p| is_part(p)).count() == 2 && parts.next().is_none()
}

fn is_quant(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= MAX_NAME_BYTES
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Whether a path of a repository stays inside it: relative, `/` between ordinary names.
pub(crate) fn is_file(path: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name != "." && name != "..";
    path.len() <= MAX_NAME_BYTES
        && path.split('/').all(is_name)
        && !path.contains(|c: char| c == '\\' || c == ':' || c.is_control())
}

/// A path as it stands in a URL.
pub(crate) fn encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/');
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::{ModelRef, encoded, is_file};

    #[test]
    fn names_of_models_are_taken_apart() {
        let model: ModelRef = "ggml-org/gemma-3-1b-it-GGUF:Q4_K_M".parse().unwrap();
        assert_eq!((model.repo.as_str(), model.quant.as_deref()), ("ggml-org/gemma-3-1b-it-GGUF", Some("Q4_K_M")));
        assert_eq!(model.to_string(), "ggml-org/gemma-3-1b-it-GGUF:Q4_K_M");
        assert_eq!("a/b.c_d".parse::<ModelRef>().unwrap().quant, None);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let hostile = [
            "",
            "a",
            "a/",
            "/a",
            "a/b/c",
            "../b",
            "a/..",
            "a/.b",
            "a/b-",
            "a--b/c",
            "a/b:",
            "a/b:../c",
            "a/b\0",
            "a/b?c",
            "a/b#c",
            "a b/c",
            "a/b:q/r",
            "ä/b",
            "https://a/b",
        ];
        for name in hostile {
            assert!(name.parse::<ModelRef>().is_err(), "{name:?}");
        }
        assert!(format!("a/{}", "b".repeat(600)).parse::<ModelRef>().is_err());
    }

    #[test]
    fn files_stay_in_their_repository() {
        assert!(is_file("model.gguf") && is_file("Q4_K_M/model-00001-of-00002.gguf") && is_file("with space#.gguf"));
        for path in
            ["", "/etc/passwd", "../x.gguf", "a/../../x.gguf", "a//b", "a/./b", "C:\\x", "a\\..\\b", "a\nb", "a/"]
        {
            assert!(!is_file(path), "{path:?}");
        }
        assert_eq!(encoded("a b/ü#.gguf"), "a%20b/%C3%BC%23.gguf");
    }
}
