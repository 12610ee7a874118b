//! Which models the golden tests read, and how far from the golden files they are.

use std::path::PathBuf;

use gguf::Gguf;
use model::DecoderSpec;

use super::super::{read, root};

/// Where golden tests stand: executor, path and the line of tests there.
const TESTS: &[(&str, &str)] = &[
    ("cpu", "crates/cpu/tests/golden/logits.rs"),
    ("cpu", "crates/cpu/tests/golden/embeddings.rs"),
    ("cuda", "crates/cuda/tests/golden.rs"),
    ("cuda", "crates/cuda/tests/embeddings.rs"),
];

/// A golden model.
pub(super) struct Golden {
    /// Its file, without `.gguf`.
    pub(super) model: String,
    pub(super) spec: DecoderSpec,
    /// Whether the file has divisors of the rotary frequencies (Llama 3).
    pub(super) has_rope_factors: bool,
    /// The types of its matrices.
    pub(super) types: String,
    /// Executor and name of each test.
    pub(super) tests: Vec<(&'static str, String)>,
}

/// All golden models that a test names, in the order of the tests; `None` where the test data lacks some and may.
pub(super) fn all() -> Option<Vec<Golden>> {
    let mut goldens: Vec<Golden> = Vec::new();
    for (executor, path) in TESTS {
        for (test, model) in tests_in(&read(path.as_ref())) {
            let test = (*executor, test);
            match goldens.iter_mut().find(|golden| golden.model == model) {
                Some(golden) => golden.tests.push(test),
                None => goldens.push(open(model, test)?),
            }
        }
    }
    Some(goldens)
}

fn open(model: String, test: (&'static str, String)) -> Option<Golden> {
    let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let folders = [root().join("tests/data/golden"), root().join("tests/golden/data"), shared.join("golden")];
    let file = format!("{model}.gguf");
    let Some(path) = folders.iter().map(|folder| folder.join(&file)).find(|path| path.exists()) else {
        let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
        assert!(!required, "{file} is in none of {folders:?}");
        eprintln!("{file}: skipped");
        return None;
    };
    let gguf = Gguf::open(&path).expect("a sound GGUF");
    let spec = model::decoder_spec(&gguf).unwrap_or_else(|e| panic!("{file}: {e}"));
    let matrices = gguf.tensors().iter().filter(|tensor| tensor.shape.len() > 1);
    let types = super::features::each(matrices.map(|tensor| tensor.ggml_type.name().to_owned()));
    let has_rope_factors = gguf.tensor("rope_freqs.weight").is_some();
    Some(Golden { model, spec, has_rope_factors, types, tests: vec![test] })
}

/// The tests of a source file that read a golden model: `NAME("MODEL", ...);` in `golden_tests!`, and
/// `fn NAME() { check_...("MODEL", ...)`.
fn tests_in(source: &str) -> Vec<(String, String)> {
    let mut tests = Vec::new();
    let (mut in_macro, mut function) = (false, "");
    for line in source.lines().map(str::trim) {
        in_macro = (in_macro || line.starts_with("golden_tests! {")) && line != "}";
        if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            function = name;
        }
        let Some((call, model)) = line.split_once("(\"") else { continue };
        let name = match () {
            () if in_macro => call,
            () if call.starts_with("check_") => function,
            () => continue,
        };
        let model = model.split('"').next().unwrap_or_default();
        tests.push((name.to_owned(), model.to_owned()));
    }
    tests
}

/// Lines of the table of bounds and measured differences: its first word, executor, way, value or model, the rest.
pub(super) fn bounds() -> Vec<[String; 5]> {
    let table = read("tests/golden/bounds.tsv".as_ref());
    let fields = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    table.lines().filter_map(|line| <[String; 5]>::try_from(fields(line)).ok()).collect()
}
