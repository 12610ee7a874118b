//! Which of some names is meant by one that is not among them.

/// Longer names are not compared: they are no slips of the pen.
const MAX_CHARS: usize = 64;

/// The name that takes the fewest changes of a character to become; the first of equals.
pub(crate) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(MAX_CHARS).collect();
    names.iter().min_by_key(|other| distance(&name, other)).copied()
}

/// Levenshtein's distance.
fn distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (idx, wanted) in to.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], idx + 1);
        for (column, found) in from.iter().enumerate() {
            let replaced = diagonal + usize::from(*found != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_changes_win() {
        let names = ["llama-bpe", "qwen2", "deepseek-v3"];
        assert_eq!(nearest("qwen-2", &names), Some("qwen2"));
        assert_eq!(nearest("deepseek-v4", &names), Some("deepseek-v3"));
        assert_eq!(nearest("llama", &names), Some("llama-bpe"));
        assert_eq!(nearest(&"x".repeat(1 << 20), &names), Some("llama-bpe"));
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn distances_are_symmetric() {
        for (a, b, expect) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("äb", "b", 1)] {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!((distance(&chars(a), b), distance(&chars(b), a)), (expect, expect), "{a}, {b}");
        }
    }
}
