//! Which of the possible launches is fastest for a product, as measured on the device.
//!
//! The model of `plan.rs` knows rounds of blocks, not what a cluster waits for or how much of the activations' traffic
//! the second-level cache takes. So a few candidates run once at the start, over all layers one after the other as in a
//! step; the model's own choice stays unless another is clearly faster.

use std::collections::HashMap;

/// A candidate replaces the model's choice when it takes less than this share of its time.
const WORTH_IT: f64 = 0.98;

/// What the best launch depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Product {
    /// What its kernels' names end in.
    pub(super) format: &'static str,
    /// Rows of the matrices.
    pub(super) rows: Vec<usize>,
    /// Their columns.
    pub(super) cols: usize,
    /// Tokens, rounded up to what a kernel takes.
    pub(super) tokens: usize,
}

/// A launch of several tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileChoice {
    /// The kernel, by its place among the tile shapes.
    pub(super) tile: usize,
    /// Parts of the columns.
    pub(super) splits: usize,
}

/// The choices so far.
#[derive(Default)]
pub(super) struct Tuning {
    best: HashMap<Product, TileChoice>,
    trial: Option<Trial>,
}

/// A run in which every product takes its candidate number `idx`.
struct Trial {
    idx: usize,
    /// Candidates of the product that has the most.
    most: usize,
    /// What took part, with its candidates.
    seen: HashMap<Product, Vec<TileChoice>>,
}

impl Tuning {
    /// What to launch: the trial's candidate, what was measured to be best, or the first.
    pub(super) fn choose(
        &mut self,
        product: impl FnOnce() -> Product,
        candidates: impl Fn() -> Vec<TileChoice>,
        first: impl FnOnce() -> TileChoice,
    ) -> TileChoice {
        if let Some(trial) = &mut self.trial {
            let candidates = candidates();
            trial.most = trial.most.max(candidates.len());
            let choice = candidates.get(trial.idx).copied().unwrap_or(candidates[0]);
            trial.seen.insert(product(), candidates);
            return choice;
        }
        if self.best.is_empty() {
            return first();
        }
        self.best.get(&product()).copied().unwrap_or_else(first)
    }

    /// From now on candidate `idx` is taken.
    pub(super) fn begin(&mut self, idx: usize) {
        self.trial = Some(Trial { idx, most: 0, seen: HashMap::new() });
    }

    /// Ends a trial: whether there are candidates beyond, and which products took part, with their candidates.
    pub(super) fn end(&mut self) -> (bool, HashMap<Product, Vec<TileChoice>>) {
        self.trial.take().map_or((false, HashMap::new()), |trial| (trial.idx + 1 < trial.most, trial.seen))
    }

    /// Keeps a product's choice.
    pub(super) fn keep(&mut self, product: Product, choice: TileChoice) {
        self.best.insert(product, choice);
    }

    /// Whether the best launch of a product is known.
    pub(super) fn knows(&self, product: &Product) -> bool {
        self.best.contains_key(product)
    }

    /// One line for each product, in a fixed order.
    pub(super) fn write(&self, kernel: impl Fn(usize) -> &'static str) -> String {
        let mut lines: Vec<String> = self
            .best
            .iter()
            .map(|(product, choice)| {
                let rows: Vec<String> = product.rows.iter().map(ToString::to_string).collect();
                let Product { format, cols, tokens, .. } = product;
                format!("{format} {} {cols} {tokens} {} {}\n", rows.join(","), kernel(choice.tile), choice.splits)
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// Takes over the lines of [`Self::write`] whose formats and kernels are known and that `is_possible`; others are left out.
    pub(super) fn read(
        &mut self,
        text: &str,
        (format, tile): (impl Fn(&str) -> Option<&'static str>, impl Fn(&str) -> Option<usize>),
        is_possible: impl Fn(&Product, TileChoice) -> bool,
    ) {
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let format = format(words.next()?)?;
            let rows = words.next()?.split(',').map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()?;
            let product =
                Product { format, rows, cols: words.next()?.parse().ok()?, tokens: words.next()?.parse().ok()? };
            let choice = TileChoice { tile: tile(words.next()?)?, splits: words.next()?.parse().ok()? };
            (words.next().is_none() && is_possible(&product, choice)).then_some((product, choice))
        };
        self.best.extend(text.lines().filter_map(parse));
    }
}

/// The number of the candidate to keep: the fastest, if it beats the first by enough.
pub(super) fn fastest(micros: &[f64]) -> usize {
    let best = (0..micros.len()).min_by(|&a, &b| micros[a].total_cmp(&micros[b])).unwrap_or(0);
    if micros.first().is_some_and(|first| micros[best] < first * WORTH_IT) { best } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Product, TileChoice, Tuning, fastest};

    #[test]
    fn the_first_stays_unless_another_is_clearly_faster() {
        assert_eq!(fastest(&[10.0, 9.9, 12.0]), 0);
        assert_eq!(fastest(&[10.0, 9.0, 8.5]), 2);
        assert_eq!(fastest(&[]), 0);
    }

    #[test]
    fn trials_take_their_candidate_and_what_is_kept_is_taken_later() {
        let product = || Product { format: "q4_k", rows: vec![64], cols: 128, tokens: 8 };
        let candidates = || (1..=3).map(|splits| TileChoice { tile: 0, splits }).collect::<Vec<_>>();
        let first = || TileChoice { tile: 0, splits: 1 };
        let mut tuning = Tuning::default();
        assert_eq!(tuning.choose(product, candidates, first).splits, 1);
        tuning.begin(2);
        assert_eq!(tuning.choose(product, candidates, first).splits, 3);
        let (more, seen) = tuning.end();
        assert!(!more && seen.len() == 1);
        tuning.begin(0);
        tuning.choose(product, candidates, first);
        assert!(tuning.end().0);
        tuning.keep(product(), TileChoice { tile: 0, splits: 2 });
        assert_eq!(tuning.choose(product, candidates, first).splits, 2);
        let other = || Product { tokens: 16, ..product() };
        assert_eq!(tuning.choose(other, candidates, first).splits, 1);
    }

    #[test]
    fn what_was_written_is_read_and_nonsense_is_not() {
        let product = Product { format: "q4_k", rows: vec![64, 32], cols: 128, tokens: 8 };
        let mut tuning = Tuning::default();
        tuning.keep(product.clone(), TileChoice { tile: 1, splits: 2 });
        let text = tuning.write(|_| "matmul_8");
        assert_eq!(text, "q4_k 64,32 128 8 matmul_8 2\n");
        let known = |name: &str| (name == "matmul_8").then_some(1);
        let mut read = Tuning::default();
        let lines =
            ["64,x 128 8 matmul_8 2", "64 128", "1 2 3 other 4", "", "64 128 8 matmul_8 7 7", "64 256 8 matmul_8 9"];
        let nonsense: String = lines.iter().map(|line| format!("q4_k {line}\n")).collect();
        let format = |name: &str| (name == "q4_k").then_some("q4_k");
        let text = format!("{text}{nonsense}q9 64 128 8 matmul_8 2\n");
        read.read(&text, (format, known), |_, choice| choice.splits < 9);
        assert!(read.knows(&product));
        assert_eq!(read.best.len(), 1);
    }
}
