//! Many short strings in two allocations.

use std::fmt;

/// A list of strings, their bytes end to end: a vocabulary and its merges hold hundreds of thousands, most of a few
/// bytes each.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: String,
    /// Where each string ends.
    ends: Vec<u32>,
}

impl Strings {
    /// An empty list with room for so many strings.
    #[must_use]
    pub fn with_capacity(num_strings: usize, num_bytes: usize) -> Self {
        Self { bytes: String::with_capacity(num_bytes), ends: Vec::with_capacity(num_strings) }
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `idx`.
    #[must_use]
    pub fn get(&self, idx: usize) -> Option<&str> {
        let end = *self.ends.get(idx)? as usize;
        let start = idx.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.bytes[start..end])
    }

    /// All strings, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let begin = std::mem::replace(&mut start, *end as usize);
            &self.bytes[begin..start]
        })
    }

    /// Adds a string.
    ///
    /// # Panics
    /// When all strings together would have 4 GiB; the metadata of a file has less.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        let end = u32::try_from(self.bytes.len()).expect("strings of less than 4 GiB");
        self.ends.push(end);
    }

    /// Gives back the memory that was kept for more.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let texts = texts.into_iter();
        let mut strings = Self::with_capacity(texts.size_hint().0, 0);
        texts.for_each(|text| strings.push(text.as_ref()));
        strings
    }
}

impl From<Vec<String>> for Strings {
    fn from(texts: Vec<String>) -> Self {
        texts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Strings;

    #[test]
    fn strings_are_those_that_were_put_in() {
        let texts = ["a", "", "Größe", ""];
        let strings: Strings = texts.iter().collect();
        assert_eq!((strings.len(), strings.is_empty()), (4, false));
        assert_eq!(strings.iter().collect::<Vec<_>>(), texts);
        assert_eq!(strings.iter().len(), 4);
        assert_eq!([0, 1, 2, 3, 4].map(|i| strings.get(i)), [Some("a"), Some(""), Some("Größe"), Some(""), None]);
        assert_eq!(format!("{strings:?}"), r#"["a", "", "Größe", ""]"#);
        assert_eq!(strings, texts.map(str::to_owned).to_vec().into());
        assert_ne!(strings, ["a", "Größe"].iter().collect());
        assert!(Strings::default().is_empty() && Strings::default().get(0).is_none());
    }
}
