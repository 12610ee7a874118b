//! Stop strings: where an answer is cut, whichever tokens they are spread over.

/// What became of a piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOutcome {
    /// Text that may be shown: no stop string can begin in it.
    pub text: String,
    /// Index of the stop string that was hit; `text` ends before it, and there is no more.
    pub matched: Option<usize>,
}

/// Finds the first stop string to be completed in a text that comes in pieces. Of several that end in the same place,
/// the longest counts. How the text is cut into pieces changes nothing.
#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// The end of the text so far, which may be the beginning of a stop string.
    held: String,
    done: bool,
}

/// One stop string and how much of it the text ends with (Knuth, Morris and Pratt).
#[derive(Debug)]
struct Stop {
    bytes: Vec<u8>,
    /// For each prefix length: the longest shorter prefix that the prefix ends with.
    fallback: Vec<usize>,
    num_matched: usize,
}

impl StopMatcher {
    /// A matcher at the start of a text. Empty stop strings never match.
    #[must_use]
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().map(Stop::new).collect(), held: String::new(), done: false }
    }

    /// Takes the next piece of text.
    #[must_use]
    pub fn push(&mut self, text: &str) -> StopOutcome {
        if self.done {
            return StopOutcome::default();
        }
        let num_held = self.held.len();
        self.held.push_str(text);
        for end in num_held..self.held.len() {
            let byte = self.held.as_bytes()[end];
            let mut hit: Option<(usize, usize)> = None;
            for (idx, stop) in self.stops.iter_mut().enumerate() {
                let len = stop.bytes.len();
                if stop.advance(byte) && hit.is_none_or(|(_, longest)| len > longest) {
                    hit = Some((idx, len));
                }
            }
            if let Some((idx, len)) = hit {
                self.done = true;
                self.held.truncate(end + 1 - len);
                return StopOutcome { text: std::mem::take(&mut self.held), matched: Some(idx) };
            }
        }
        let keep = self.stops.iter().map(|s| s.num_matched).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        StopOutcome { text: std::mem::replace(&mut self.held, rest), matched: None }
    }

    /// The text that was held back for a stop string which never came.
    #[must_use]
    pub fn finish(&mut self) -> String {
        self.done = true;
        std::mem::take(&mut self.held)
    }
}

impl Stop {
    fn new(text: String) -> Self {
        let bytes = text.into_bytes();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut len = 0;
        for idx in 1..bytes.len() {
            while len > 0 && bytes[idx] != bytes[len] {
                len = fallback[len];
            }
            len += usize::from(bytes[idx] == bytes[len]);
            fallback[idx + 1] = len;
        }
        Self { bytes, fallback, num_matched: 0 }
    }

    /// Whether the stop string ends with this byte of the text.
    fn advance(&mut self, byte: u8) -> bool {
        while self.num_matched > 0 && self.bytes.get(self.num_matched) != Some(&byte) {
            self.num_matched = self.fallback[self.num_matched];
        }
        self.num_matched += usize::from(self.bytes.get(self.num_matched) == Some(&byte));
        self.num_matched > 0 && self.num_matched == self.bytes.len()
    }
}
