//! The merges of BPE: which neighbours become one token, the earlier the line of the file the sooner.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range, thread};

use ahash::HashMap;
use gguf::Strings;

use super::vocab::Vocab;
use crate::{Cancelled, TextError};

pub(crate) const MERGES: &str = "tokenizer.ggml.merges";
/// No symbol, or no merge.
const NONE: u32 = u32::MAX;
/// After so many merges, it is asked whether anybody still waits.
const MERGES_PER_CHECK: u32 = 1 << 12;
/// Fewer lines are not worth a thread of their own.
const LINES_PER_THREAD: usize = 1 << 14;
/// Threads that look up the tokens of lines at most.
const MAX_THREADS: usize = 8;

/// The table of merges.
pub(crate) struct Merges {
    /// The line of a pair of tokens.
    ranks: HashMap<(u32, u32), u32>,
    /// What each line makes.
    tokens: Vec<u32>,
}

/// A token in a word. One that was merged into the token before it has the rank [`NONE`].
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    prev: u32,
    next: u32,
    /// The merge with the next one.
    rank: u32,
}

/// A word that is being merged; kept from word to word for its memory.
#[derive(Default)]
pub(crate) struct Word {
    symbols: Vec<Symbol>,
    /// Merges to do, the lowest rank first and the leftmost of equals.
    queue: BinaryHeap<Reverse<(u32, u32)>>,
}

impl Merges {
    /// Reads the lines; both parts of each, and their union, must be tokens.
    pub(crate) fn new(vocab: &Vocab, lines: &Strings) -> Result<Self, TextError> {
        let merges = all(vocab, lines)?;
        let mut ranks = HashMap::with_capacity_and_hasher(merges.len(), ahash::RandomState::new());
        for (rank, merge) in (0..).zip(&merges) {
            // A pair that stands twice counts where it stands first.
            ranks.entry(merge.pair).or_insert(rank);
        }
        Ok(Self { ranks, tokens: merges.into_iter().map(|merge| merge.token).collect() })
    }

    /// Appends what becomes of the tokens `ids` of a word. Returns how many merges were looked at: at most three for each
    /// token.
    pub(crate) fn apply(
        &self,
        cancelled: &Cancelled,
        ids: impl Iterator<Item = u32>,
        word: &mut Word,
        out: &mut Vec<u32>,
    ) -> Result<u32, TextError> {
        self.start(ids, word);
        let Word { symbols, queue } = word;
        let mut num_merges = 0_u32;
        while let Some(Reverse((rank, left))) = queue.pop() {
            num_merges = num_merges.wrapping_add(1);
            if num_merges.is_multiple_of(MERGES_PER_CHECK) {
                cancelled.check()?;
            }
            let Symbol { prev, next: right, rank: now, .. } = symbols[left as usize];
            if rank != now {
                continue; // One of the two has been merged since.
            }
            let next = symbols[right as usize].next;
            symbols[right as usize].rank = NONE;
            symbols[left as usize].id = self.tokens[rank as usize];
            symbols[left as usize].next = next;
            if next != NONE {
                symbols[next as usize].prev = left;
            }
            for at in [prev, left] {
                self.find(symbols, queue, at);
            }
        }
        let mut at = if symbols.is_empty() { NONE } else { 0 };
        while at != NONE {
            out.push(symbols[at as usize].id);
            at = symbols[at as usize].next;
        }
        Ok(num_merges)
    }

    fn start(&self, ids: impl Iterator<Item = u32>, Word { symbols, queue }: &mut Word) {
        queue.clear();
        symbols.clear();
        symbols.extend((0..).zip(ids).map(|(at, id): (u32, u32)| {
            let prev = at.checked_sub(1).unwrap_or(NONE);
            Symbol { id, prev, next: at + 1, rank: NONE }
        }));
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        for at in 0..symbols.len() as u32 {
            self.find(symbols, queue, at);
        }
    }

    /// Looks up the merge of a symbol with the next one.
    fn find(&self, symbols: &mut [Symbol], queue: &mut BinaryHeap<Reverse<(u32, u32)>>, at: u32) {
        let Some(&Symbol { id, next, .. }) = symbols.get(at as usize) else { return };
        let pair = symbols.get(next as usize).map(|right| (id, right.id));
        let rank = pair.and_then(|pair| self.ranks.get(&pair)).copied().unwrap_or(NONE);
        symbols[at as usize].rank = rank;
        if rank != NONE {
            queue.push(Reverse((rank, at)));
        }
    }
}

/// A line of the file.
struct Merge {
    pair: (u32, u32),
    token: u32,
}

/// All lines. Looking up their tokens is most of the work of a start with a small model, so all cores do it.
fn all(vocab: &Vocab, lines: &Strings) -> Result<Vec<Merge>, TextError> {
    let num_cores = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let part_len = lines.len().div_ceil(num_cores).max(LINES_PER_THREAD);
    thread::scope(|scope| {
        let starts = (0..lines.len()).step_by(part_len);
        let part = |start: usize| scope.spawn(move || some(vocab, lines, start..lines.len().min(start + part_len)));
        let threads: Vec<_> = starts.map(part).collect();
        let mut merges = Vec::with_capacity(lines.len());
        for thread in threads {
            let panicked = || TextError::vocabulary(format!("`{MERGES}`: a thread that read it panicked"));
            merges.extend(thread.join().map_err(|_| panicked())??);
        }
        Ok(merges)
    })
}

fn some(vocab: &Vocab, lines: &Strings, range: Range<usize>) -> Result<Vec<Merge>, TextError> {
    let mut merges: Vec<Merge> = Vec::with_capacity(range.len());
    let mut union = String::new();
    for line in range.filter_map(|idx| lines.get(idx)) {
        let (left, right) = parts(line).ok_or_else(|| invalid(line, "which is not two parts"))?;
        let id = |part: &str| vocab.id(part).ok_or_else(|| invalid(line, &format!("but `{part}` is not a token")));
        let pair = (id(left)?, id(right)?);
        union.clear();
        union.extend([left, right]);
        // What merges make mostly stands in the vocabulary in their order.
        let next = merges.last().map(|merge| merge.token + 1).filter(|next| vocab.text(*next) == union);
        merges.push(Merge { pair, token: next.map_or_else(|| id(&union), Ok)? });
    }
    Ok(merges)
}

/// The two parts of a line. The first may begin with a space, so the border is looked for behind the first character.
fn parts(line: &str) -> Option<(&str, &str)> {
    let first_len = line.chars().next()?.len_utf8();
    let border = line[first_len..].find(' ')? + first_len;
    Some((&line[..border], &line[border + 1..]))
}

fn invalid(line: &str, why: &str) -> TextError {
    TextError::vocabulary(format!("`{MERGES}` has the line `{line}`, {why}"))
}

#[cfg(test)]
mod tests {
    use gguf::{Array, Metadata, Value};

    use super::*;

    /// A vocabulary of these tokens, with merges.
    fn merges(tokens: &[&str], lines: &[&str]) -> Result<(Vocab, Merges), TextError> {
        let mut metadata = Metadata::default();
        metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(tokens.iter().collect())));
        let vocab = Vocab::from_metadata(&metadata)?;
        let merges = Merges::new(&vocab, &lines.iter().collect())?;
        Ok((vocab, merges))
    }

    /// The tokens of a word of single letters, and how many merges were looked at.
    fn apply((vocab, merges): &(Vocab, Merges), word: &str) -> (Vec<String>, u32) {
        let mut out = Vec::new();
        let letters = word.chars().map(|c| vocab.id(c.encode_utf8(&mut [0; 4])).expect("a letter"));
        let num = merges.apply(&Cancelled::default(), letters, &mut Word::default(), &mut out).expect("not cancelled");
        (out.into_iter().map(|id| vocab.text(id).to_owned()).collect(), num)
    }

    #[test]
    fn the_earliest_line_is_merged_first_and_the_leftmost_of_equals() {
        let tokens = ["a", "b", "c", "bc", "ab", "aa", "abc", "aaa"];
        let model = merges(&tokens, &["b c", "a b", "a a", "a bc", "aa a", "b c"]).expect("sound");
        for (word, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("abc", &["abc"]),
            ("ab", &["ab"]),
            ("aaaaa", &["aa", "aaa"]),
            ("cab", &["c", "ab"]),
            ("aabc", &["aa", "bc"]),
        ] {
            assert_eq!(apply(&model, word).0, expected, "{word}");
        }
    }

    /// A word is not scanned again for every merge: the work grows with its length.
    #[test]
    fn long_words_take_three_looks_a_letter_at_most() {
        const LEN: usize = 100_000;
        let powers: Vec<String> =
            (0..12).map(|n| "a".repeat(1 << n)).chain(["b".to_owned(), "ab".to_owned()]).collect();
        let lines: Vec<String> =
            (0..11).map(|n| format!("{0} {0}", "a".repeat(1 << n))).chain(["a b".to_owned()]).collect();
        let [tokens, lines] = [&powers, &lines].map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>());
        let model = merges(&tokens, &lines).expect("sound");
        for word in ["a".repeat(LEN), "ab".repeat(LEN / 2), "b".repeat(LEN), "aab".repeat(LEN / 3)] {
            let (tokens, num_looked_at) = apply(&model, &word);
            assert_eq!(tokens.concat(), word);
            assert!(num_looked_at as usize <= 3 * LEN, "{num_looked_at} merges looked at for {:?}", &word[..3]);
        }
    }

    #[test]
    fn lines_that_name_no_tokens_are_refused() {
        for (line, expected) in [
            ("", "which is not two parts"),
            ("a", "which is not two parts"),
            ("a ", "but `` is not a token"),
            ("a z", "but `z` is not a token"),
            ("z a", "but `z` is not a token"),
            ("b a", "but `ba` is not a token"),
        ] {
            let error = merges(&["a", "b", "ab"], &["a b", line]).err().expect("an error").to_string();
            assert!(error.contains(expected) && error.contains(&format!("line `{line}`")), "{error}");
        }
    }
}
