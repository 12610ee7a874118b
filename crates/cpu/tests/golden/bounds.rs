//! How far from the golden files each way to compute may be: the table that docs/models.md shows. The GPU's tests use
//! it too.

const TABLE: &str = include_str!("../../../../tests/golden/bounds.tsv");

/// The bound of a way to compute.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    executor: &'static str,
    way: &'static str,
    /// The largest difference of a logit, or of an element of a hidden state.
    pub(crate) value: f32,
}

impl Bound {
    /// The line `bound EXECUTOR WAY VALUE` of the table.
    pub(crate) fn of(executor: &'static str, way: &'static str) -> Self {
        let line = TABLE.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let mut values = line.filter_map(|fields| match fields[..] {
            ["bound", e, w, value, ..] if (e, w) == (executor, way) => value.parse().ok(),
            _ => None,
        });
        let value = values.next().unwrap_or_else(|| panic!("tests/golden/bounds.tsv has no bound of {executor} {way}"));
        Self { executor, way, value }
    }

    /// Fails where a difference of a model's is larger; says it in the form that `tests/golden/record.py` reads.
    #[track_caller]
    pub(crate) fn check(&self, model: &str, difference: f32) {
        let Self { executor, way, value } = self;
        eprintln!("golden\t{executor}\t{way}\t{model}\t{difference:e}");
        assert!(difference <= *value, "{model}, {way}: {difference} is more than {value}");
    }
}
