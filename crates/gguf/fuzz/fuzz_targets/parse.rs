//! Any bytes: the reader gives an error or a file whose tensors all lie inside it; it never panics.
//!
//! In `crates/gguf`: `cargo +nightly fuzz run parse`. The tests mutate the same corpus (`tests/hostile.rs`).
#![no_main]

use gguf::Gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(gguf) = Gguf::from_bytes(bytes.to_vec()) {
        let num_bytes: usize = gguf.tensors().iter().map(|tensor| gguf.data(tensor).len()).sum();
        assert_eq!(num_bytes as u64, gguf.weight_bytes());
        // Decodes every weight: damaged scales give an answer, never a panic.
        let _ = gguf.find_bad_weight(1, |_| true, |_| ());
    }
});
