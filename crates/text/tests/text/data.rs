//! Finds the test data.

use std::path::PathBuf;

/// The path of a test file: the project's own copy, or that of the test data folder. `None` where neither is there and
/// need not be.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let places = [root.join("tests/data").join(name), shared.join(name)];
    let found = places.iter().find(|path| path.exists());
    let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    assert!(found.is_some() || !required, "{name} is at none of {places:?}");
    if found.is_none() {
        eprintln!("{name}: skipped");
    }
    found.cloned()
}

/// The same, read as text.
pub(crate) fn read(name: &str) -> Option<String> {
    find(name).map(|path| std::fs::read_to_string(path).expect("a readable text"))
}
