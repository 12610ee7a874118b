//! All tokens that begin at a place of a text.

/// No token ends at a node.
const NONE: u32 = u32::MAX;

/// A trie whose nodes stand level by level, so that the children of each lie side by side, and behind those of the node
/// before it.
pub(crate) struct Trie {
    /// The root first. One more at the end bounds the children of the last.
    nodes: Vec<Node>,
    /// The byte that leads to each node; ascending among the children of one.
    labels: Vec<u8>,
}

struct Node {
    first_child: u32,
    /// What ends here, or [`NONE`].
    value: u32,
}

impl Trie {
    /// A trie of texts and what they stand for. The texts differ from each other and are not empty.
    pub(crate) fn new<'a>(texts: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let sorted = sorted(texts);
        let mut trie = Self { nodes: Vec::new(), labels: vec![0] };
        // The texts below each node of a level.
        let all = 0..sorted.len();
        let mut level = vec![all];
        let mut depth = 0;
        while !level.is_empty() {
            let mut below = Vec::new();
            for range in level {
                let first_child = trie.labels.len() as u32;
                let mut texts = &sorted[range.clone()];
                let mut value = NONE;
                if let Some((text, found)) = texts.first()
                    && text.len() == depth
                {
                    (value, texts) = (*found, &texts[1..]);
                }
                let mut start = range.end - texts.len();
                for group in texts.chunk_by(|(a, _), (b, _)| a.as_bytes()[depth] == b.as_bytes()[depth]) {
                    trie.labels.push(group[0].0.as_bytes()[depth]);
                    below.push(start..start + group.len());
                    start += group.len();
                }
                trie.nodes.push(Node { first_child, value });
            }
            level = below;
            depth += 1;
        }
        trie.nodes.push(Node { first_child: trie.labels.len() as u32, value: NONE });
        trie.nodes.shrink_to_fit();
        trie.labels.shrink_to_fit();
        trie
    }

    /// The texts that `text` begins with, the shortest first: their lengths in bytes and what they stand for.
    pub(crate) fn prefixes(&self, text: &str) -> impl Iterator<Item = (usize, u32)> {
        let mut node = 0;
        let nodes = (1..).zip(text.bytes()).map_while(move |(len, byte)| {
            node = self.child(node, byte)?;
            Some((len, self.nodes[node].value))
        });
        nodes.filter(|(_, value)| *value != NONE)
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        let [first, end] = [node, node + 1].map(|node| self.nodes[node].first_child as usize);
        Some(first + self.labels[first..end].binary_search(&byte).ok()?)
    }
}

/// In the order of their bytes. Numbers made of the first bytes are compared first: nearly all differ in those.
fn sorted<'a>(texts: impl Iterator<Item = (&'a str, u32)>) -> Vec<(&'a str, u32)> {
    let start = |text: &str| {
        let mut first = [0; 8];
        first.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        u64::from_be_bytes(first)
    };
    let mut keyed: Vec<_> = texts.map(|(text, value)| (start(text), text, value)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, text, value)| (text, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::Trie;

    fn prefixes(texts: &[&str], text: &str) -> Vec<(usize, u32)> {
        Trie::new(texts.iter().copied().zip(0..)).prefixes(text).collect()
    }

    #[test]
    fn all_prefixes_are_found_the_shortest_first() {
        let texts = ["abc", "a", "ab", "b", "abcdefghijk", "abcdefghij", "é", "日本", "日", "\0"];
        for (text, expected) in [
            ("abcdefghijkl", &[(1, 1), (2, 2), (3, 0), (10, 5), (11, 4)][..]),
            ("abx", &[(1, 1), (2, 2)]),
            ("ba", &[(1, 3)]),
            ("日本語", &[(3, 8), (6, 7)]),
            ("ê", &[]),
            ("\0a", &[(1, 9)]),
            ("z", &[]),
            ("", &[]),
        ] {
            assert_eq!(prefixes(&texts, text), expected, "{text}");
        }
        assert!(prefixes(&[], "a").is_empty());
    }

    /// As a search of the whole list finds them.
    #[test]
    fn prefixes_of_many_texts() {
        let texts: Vec<String> = (0..3_u32.pow(7))
            .map(|n| {
                let digits = (0..n % 7 + 1).map(|place| ["a", "b", "é"][(n / 3_u32.pow(place) % 3) as usize]);
                digits.collect()
            })
            .collect::<std::collections::BTreeSet<String>>()
            .into_iter()
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for text in ["aabbaab", "ébabéab", "bbbbbbbbbb", "c"] {
            let mut expected: Vec<_> =
                (0..).zip(&texts).filter(|(_, t)| text.starts_with(**t)).map(|(i, t)| (t.len(), i)).collect();
            expected.sort_unstable();
            assert_eq!(prefixes(&texts, text), expected, "{text}");
        }
    }
}
