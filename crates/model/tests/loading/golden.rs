//! The golden models load whole.

use std::path::PathBuf;

use gguf::Gguf;
use model::{decoder_spec, resolve_weights};

/// Opens a golden model: from the repository, or from `LLCUDA_TEST_DATA`; `None` where it is not there and need not be.
fn open(name: &str) -> Option<Gguf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let file = format!("{name}.gguf");
    let paths = [root.join("tests/data/golden").join(&file), shared.join("golden").join(&file)];
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Some(Gguf::open(path).expect("a sound GGUF"));
    }
    let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    assert!(!required, "{file} is in none of {paths:?}");
    eprintln!("{name}: skipped");
    None
}

#[test]
fn models_of_our_architectures_load() {
    for (name, arch) in [
        ("llama3_gqa.f16", "llama"),
        ("llama_spm_tied.f16", "llama"),
        ("mistral.f16", "llama"),
        ("stories260k.f16", "llama"),
        ("stories260k.f32", "llama"),
        ("qwen2.f16", "qwen2"),
        ("qwen3.f16", "qwen3"),
        ("qwen3moe.f16", "qwen3moe"),
        ("quantized/qwen3moe.q4_k_m", "qwen3moe"),
        ("gemma2.f16", "gemma2"),
        ("gemma3.f16", "gemma3"),
        ("phi3.f16", "phi3"),
        ("granite.f16", "granite"),
        ("gptoss.f16", "gpt-oss"),
        ("quantized/qwen3.q4_k_m", "qwen3"),
        ("quantized/qwen3.iq2_xs", "qwen3"),
        ("bert.f16", "bert"),
        ("nomic.f16", "nomic-bert"),
    ] {
        let Some(gguf) = open(name) else { continue };
        let spec = decoder_spec(&gguf).unwrap();
        assert_eq!(spec.arch, arch, "{name}");
        resolve_weights(&spec, &gguf).unwrap();
    }
}
