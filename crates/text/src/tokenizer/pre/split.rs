//! Runs the steps of a pre-tokenizer.

use std::{ops::Range, sync::LazyLock};

use regex::{Regex, RegexBuilder};

use super::{PreTokenizer, Step, Thousands};

/// What a thread keeps at most of a pattern's automaton, which is made as texts need it. A text of random characters needs
/// some MiB; with less, it would be made again and again.
const AUTOMATON_BYTES: usize = 8 << 20;

/// A pre-tokenizer ready to run.
pub(crate) struct Splitter {
    steps: Vec<Cutter>,
}

/// One step: what is matched, and what of a match is cut off.
struct Cutter {
    pattern: Regex,
    ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// A match is one word.
    Whole,
    /// White space leaves its last character to the word behind it.
    GivesBack,
    /// The same, unless it ends in a newline.
    GivesBackBlanks,
    /// The same, and what remains is cut into runs.
    Runs,
    /// A match is digits, to be cut in threes.
    Thousands(Thousands),
}

impl Splitter {
    pub(crate) fn new(pre: &PreTokenizer) -> Self {
        let cutter = |step: &Step| {
            let (pattern, ending) = match *step {
                Step::Match(pattern) => (pattern, Ending::Whole),
                Step::Words(pattern) => (pattern, Ending::GivesBack),
                Step::WordsAndLines(pattern) => (pattern, Ending::GivesBackBlanks),
                Step::WordsAndRuns(pattern) => (pattern, Ending::Runs),
                Step::Thousands(which) => (r"\d+", Ending::Thousands(which)),
            };
            let pattern = RegexBuilder::new(pattern).dfa_size_limit(AUTOMATON_BYTES).build();
            Cutter { pattern: pattern.expect("every pattern of the table is compiled by a test"), ending }
        };
        Self { steps: pre.steps.iter().map(cutter).collect() }
    }

    /// The words of `text`; together they are the text.
    pub(crate) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut words = vec![text];
        for step in &self.steps {
            let mut cut = Vec::with_capacity(words.len() * 2);
            words.into_iter().for_each(|word| step.cut(word, &mut cut));
            words = cut;
        }
        words
    }
}

impl Cutter {
    fn cut<'t>(&self, text: &'t str, out: &mut Vec<&'t str>) {
        let mut done = 0; // Everything before is in `out`.
        let mut at = 0; // Where the next match may begin.
        while let Some(found) = self.pattern.find_at(text, at) {
            if found.is_empty() {
                break; // No pattern matches nothing; a loop that stands still must not depend on it.
            }
            let (matched, rest) = (found.as_str(), &text[found.end()..]);
            if self.ending == Ending::Thousands(Thousands::BeforeWordEnd) && rest.starts_with(is_word) {
                at = found.end();
                continue;
            }
            if self.ending == Ending::Thousands(Thousands::Inside) {
                done = cut_before_thousands(text, done, found.range(), out);
                at = found.end();
                continue;
            }
            if done < found.start() {
                out.push(&text[done..found.start()]);
            }
            done = found.start() + self.cut_match(matched, rest.is_empty(), out);
            at = done;
        }
        if done < text.len() {
            out.push(&text[done..]);
        }
    }

    /// Cuts one match into words and returns how many of its bytes they take. `at_end`: no text follows.
    fn cut_match<'t>(&self, matched: &'t str, at_end: bool, out: &mut Vec<&'t str>) -> usize {
        let is_blank =
            |newlines: bool| matched.ends_with(|c: char| c.is_whitespace() && (newlines || !matches!(c, '\r' | '\n')));
        match self.ending {
            Ending::Thousands(_) => return cut_thousands(matched, out),
            Ending::Runs if is_blank(false) => return cut_runs(matched, at_end, out),
            Ending::GivesBack if !at_end && is_blank(true) => return give_back(matched, out),
            Ending::GivesBackBlanks if !at_end && is_blank(false) => return give_back(matched, out),
            _ => out.push(matched),
        }
        matched.len()
    }
}

/// All but the last character, of two or more.
fn give_back<'t>(blanks: &'t str, out: &mut Vec<&'t str>) -> usize {
    let last = blanks.chars().next_back().map_or(0, char::len_utf8);
    let kept = if last == blanks.len() { blanks.len() } else { blanks.len() - last };
    out.push(&blanks[..kept]);
    kept
}

/// Runs of 512, 256, ... 4 and 2 characters; of the white space before a word, the last character stays uncut.
fn cut_runs<'t>(blanks: &'t str, at_end: bool, out: &mut Vec<&'t str>) -> usize {
    let mut num_left = blanks.chars().count();
    if !at_end && num_left > 1 {
        num_left -= 1;
    }
    let mut done = 0;
    while num_left > 0 {
        let run = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1].into_iter().find(|n| *n <= num_left).unwrap_or(1);
        let len = blanks[done..].chars().take(run).map(char::len_utf8).sum::<usize>();
        out.push(&blanks[done..done + len]);
        done += len;
        num_left -= run;
    }
    done
}

/// Groups of three characters from the right; the first may be shorter.
fn cut_thousands<'t>(digits: &'t str, out: &mut Vec<&'t str>) -> usize {
    let num_digits = digits.chars().count();
    let mut start = 0;
    for (idx, (offset, _)) in digits.char_indices().enumerate().skip(1) {
        if (num_digits - idx).is_multiple_of(3) {
            out.push(&digits[start..offset]);
            start = offset;
        }
    }
    out.push(&digits[start..]);
    digits.len()
}

/// Cuts before each group of three digits, counted from the right of `digits`. Returns where the last word begins.
fn cut_before_thousands<'t>(text: &'t str, mut start: usize, digits: Range<usize>, out: &mut Vec<&'t str>) -> usize {
    let num_digits = text[digits.clone()].chars().count();
    for (idx, (offset, _)) in text[digits.clone()].char_indices().enumerate() {
        let at = digits.start + offset;
        if (num_digits - idx).is_multiple_of(3) && at > start {
            out.push(&text[start..at]);
            start = at;
        }
    }
    start
}

/// Whether a character continues a word, so that no word ends before it: Oniguruma's `\w`.
fn is_word(c: char) -> bool {
    static WORD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]").expect("a constant pattern that a test compiles")
    });
    c.is_ascii_alphanumeric() || WORD.is_match(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::super::{PRE_TOKENIZERS, find};
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let splitter = Splitter::new(find(name).expect("a row"));
        splitter.split(text).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_row_compiles_and_loses_nothing() {
        let text = "It's  1234567 o'clock,\r\n\n\t «Größe» e\u{301} 日本語 ไทย 한국어 🙂🙂  x\u{a0}\u{3000}y/z   \n ";
        for row in PRE_TOKENIZERS {
            let words = Splitter::new(row).split(text);
            assert_eq!(words.concat(), text, "{:?}", row.names);
            assert!(words.iter().all(|w| !w.is_empty()), "{:?}", row.names);
        }
    }

    /// No pattern gives up on a text, as those with look-aheads may: what a step does not match is a word too.
    #[test]
    fn no_row_loses_a_part_of_a_hostile_text() {
        const LEN: usize = 100_000;
        for unit in ["a", " ", "7", "\u{301}", "'s", "aB", " \n", "日", "e\u{301} ", "!\r\n/", "x1½Ⅷ", "😀 "] {
            let text = unit.repeat(LEN / unit.len());
            for row in PRE_TOKENIZERS {
                let words = Splitter::new(row).split(&text);
                assert!(words.concat() == text, "{:?} loses a part of {unit:?}", row.names);
            }
        }
    }

    /// The original patterns, with their look-aheads, cut as `tokenizers` (and Oniguruma) do: `pre.json`, by `make.py`.
    #[test]
    fn words_are_those_of_the_original_patterns() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/text/pre.json");
        let golden = std::fs::read_to_string(path).expect("a file of the project");
        let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
        assert!(golden["words"].as_object().is_some_and(|rows| rows.len() >= 30), "most rows have a reference");
        let texts: Vec<&str> = golden["texts"].as_array().expect("texts").iter().filter_map(|t| t.as_str()).collect();
        let mut faults = Vec::new();
        for (name, rows) in golden["words"].as_object().expect("words by row") {
            let splitter = Splitter::new(find(name).expect("a row"));
            for (text, lens) in texts.iter().zip(rows.as_array().expect("a row")) {
                let expected: Vec<u64> = lens.as_array().expect("numbers").iter().filter_map(|n| n.as_u64()).collect();
                let found = splitter.split(text);
                let lens: Vec<u64> = found.iter().map(|word| word.chars().count() as u64).collect();
                if lens != expected {
                    faults.push(format!("{name}: {text:?}: {found:?} instead of {expected:?}"));
                }
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = PRE_TOKENIZERS.iter().flat_map(|row| row.names).collect();
        let num_names = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), num_names);
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let message = find("nonesuch").expect_err("no row").to_string();
        assert!(message.contains("`nonesuch`") && message.contains("qwen2") && message.contains("tekken"), "{message}");
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        assert_eq!(words("gpt-2", "a   b"), ["a", "  ", " b"]);
        assert_eq!(words("gpt-2", "a \n\nb"), ["a", " \n", "\n", "b"]);
        assert_eq!(words("gpt-2", "a   "), ["a", "   "]);
        assert_eq!(words("qwen2", "a \n\n  b"), ["a", " \n\n", " ", " b"]);
        assert_eq!(words("qwen2", "a\t\tb"), ["a", "\t", "\tb"]);
        assert_eq!(words("spark2_5", "a  \n\nb"), ["a", "  \n", "\n", "b"]);
    }

    #[test]
    fn long_white_space_is_cut_in_powers_of_two() {
        let text = format!("a{}b", " ".repeat(4 + 512 + 3));
        let lens: Vec<usize> = words("jais-2", &text).iter().map(String::len).collect();
        assert_eq!(lens, [1, 512, 4, 2, 2]);
        let lens: Vec<usize> = words("jais-2", &" ".repeat(7)).iter().map(String::len).collect();
        assert_eq!(lens, [4, 2, 1]);
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(words("llama-bpe", "1234567"), ["123", "456", "7"]);
        assert_eq!(words("qwen2", "123"), ["1", "2", "3"]);
        assert_eq!(words("superbpe", "a1234567b"), ["a", "1", "234", "567", "b"]);
        assert_eq!(words("tiny_aya", "1234567 1234x"), ["1", "234", "567", " ", "123", "4", "x"]);
    }

    #[test]
    fn words_break_before_capitals() {
        assert_eq!(words("gpt-4o", "HTMLParser don't"), ["HTMLParser", " don't"]);
        assert_eq!(words("tekken", "fooBar"), ["foo", "Bar"]);
        assert_eq!(words("kimi-k2", "中文abc中"), ["中文", "abc", "中"]);
    }
}
