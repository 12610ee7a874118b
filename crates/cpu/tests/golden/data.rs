//! Finds and reads golden files.

use std::{path::PathBuf, sync::Arc};

use gguf::Gguf;
use safetensors::SafeTensors;

/// A model and what another engine computed for its prompts.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) gguf: Arc<Gguf>,
    pub(crate) prompts: Vec<Prompt>,
}

/// A prompt and what follows it.
pub(crate) struct Prompt {
    pub(crate) ids: Vec<u32>,
    /// Logits after the last token, `[vocab_size]`.
    pub(crate) last_logits: Vec<f32>,
    /// At every position the 20 largest logits, `[len, 20]`.
    pub(crate) top_ids: Vec<u32>,
    pub(crate) top_logits: Vec<f32>,
    /// The greedy continuation, 32 tokens or more.
    pub(crate) greedy_ids: Vec<u32>,
}

/// Opens `MODEL.gguf` with `GOLDEN.golden.safetensors`; `None` where the test data lacks them and may.
pub(crate) fn open(model: &'static str, golden: &str) -> Option<Golden> {
    let (gguf, bytes) = read(model, golden)?;
    let tensors = SafeTensors::deserialize(&bytes).expect("a golden file");
    let prompts = ["short", "medium", "long"].map(|prompt| read_prompt(&tensors, prompt));
    Some(Golden { name: model, gguf, prompts: prompts.into() })
}

/// The model and the bytes of the golden file.
pub(crate) fn read(model: &'static str, golden: &str) -> Option<(Arc<Gguf>, Vec<u8>)> {
    let files = [format!("{model}.gguf"), format!("{golden}.golden.safetensors")];
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    // `tests/gpu/pack` puts the repository's own beside the others.
    let own = ["tests/data/golden", "tests/golden/data"].map(|folder| root.join(folder));
    let shared = ["golden/own", "golden"].map(|folder| shared.join(folder));
    let folders: Vec<PathBuf> = own.into_iter().chain(shared).collect();
    let Some(folder) = folders.iter().find(|folder| files.iter().all(|file| folder.join(file).exists())) else {
        let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
        assert!(!required, "{files:?} are in none of {folders:?}");
        eprintln!("{model}: skipped");
        return None;
    };
    let gguf = Gguf::open(&folder.join(&files[0])).expect("a sound GGUF");
    Some((Arc::new(gguf), std::fs::read(folder.join(&files[1])).expect("a readable file")))
}

/// A tensor of a golden file as 32-bit words.
pub(crate) fn words(tensors: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let tensor = tensors.tensor(name).expect("a tensor of the golden file");
    tensor.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

/// A tensor of a golden file as numbers.
pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    words(tensors, name).into_iter().map(f32::from_bits).collect()
}

fn read_prompt(tensors: &SafeTensors<'_>, prompt: &str) -> Prompt {
    let words = |name: &str| words(tensors, &format!("{prompt}.{name}"));
    let floats = |name: &str| floats(tensors, &format!("{prompt}.{name}"));
    Prompt {
        ids: words("ids"),
        last_logits: floats("last_logits"),
        top_ids: words("top_ids"),
        top_logits: floats("top_logits"),
        greedy_ids: words("greedy_ids"),
    }
}
