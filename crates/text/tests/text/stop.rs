//! Stop strings against a search in the whole text.

use proptest::prelude::*;
use text::StopMatcher;

use crate::fixture;

/// The text before the first stop string to be completed (the longest of several in the same place), and which it is.
fn search(text: &str, stops: &[String]) -> (String, Option<usize>) {
    for end in 1..=text.len() {
        let hits =
            stops.iter().enumerate().filter(|(_, s)| !s.is_empty() && text.as_bytes()[..end].ends_with(s.as_bytes()));
        // `max_by_key` takes the last of equals, the matcher the first.
        if let Some((idx, stop)) = hits.rev().max_by_key(|(_, s)| s.len()) {
            return (text[..end - stop.len()].to_owned(), Some(idx));
        }
    }
    (text.to_owned(), None)
}

/// The same from a matcher that is given the text in pieces.
fn stream(text: &str, stops: &[String], cuts: &[usize]) -> (String, Option<usize>) {
    let mut matcher = StopMatcher::new(stops.to_vec());
    let chars: Vec<char> = text.chars().collect();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).chain([0, chars.len()]).collect();
    cuts.sort_unstable();
    let mut shown = String::new();
    for pair in cuts.windows(2) {
        let outcome = matcher.push(&chars[pair[0]..pair[1]].iter().collect::<String>());
        shown += &outcome.text;
        if outcome.matched.is_some() {
            assert_eq!(matcher.push("more").text, "", "nothing follows");
            assert_eq!(matcher.finish(), "", "nothing is left");
            return (shown, outcome.matched);
        }
    }
    (shown + &matcher.finish(), None)
}

proptest! {
    #![proptest_config(fixture::config(5000))]

    #[test]
    fn any_pieces_give_what_the_whole_text_gives(
        text in "[abé]{0,30}",
        stops in prop::collection::vec("[abé]{0,4}", 0..4),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(stream(&text, &stops, &cuts), search(&text, &stops));
    }
}

fn check(pieces: &[&str], stops: &[&str], expected: &[&str]) {
    let mut matcher = StopMatcher::new(stops.iter().map(|s| (*s).to_owned()).collect());
    let shown: Vec<String> = pieces.iter().map(|piece| matcher.push(piece).text).collect();
    assert_eq!(shown, expected);
}

#[test]
fn text_is_held_back_only_while_it_may_become_a_stop_string() {
    check(&["Hello", " \n", "\nUser", ": hi"], &["\nUser:"], &["Hello", " ", "\n", ""]);
    check(&["a\n", "b\n", "\n", "c"], &["\n\n"], &["a", "\nb", "", ""]);
    check(&["aab", "x"], &["aabaab"], &["", "aabx"]);
    check(&["no", "thing"], &[], &["no", "thing"]);
    check(&["no", "thing"], &[""], &["no", "thing"]);
}

#[test]
fn long_text_and_stop_strings_take_linear_time() {
    let stop = "a".repeat(10_000) + "b";
    let mut matcher = StopMatcher::new(vec![stop; 4]);
    let mut num_shown = 0;
    for _ in 0..1000 {
        num_shown += matcher.push(&"a".repeat(1000)).text.len();
    }
    assert_eq!(num_shown + matcher.finish().len(), 1_000_000);
}
