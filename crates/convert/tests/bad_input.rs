//! What is wrong with a folder is said by name; nothing is left under the result's name, and inputs stay as they are.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use convert::{ConvertOptions, convert};
use gguf::WriterOptions;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert").join(name)
}

/// A copy of a folder that may be broken.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(data(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::write(folder.path().join(path.file_name().unwrap()), fs::read(&path).unwrap()).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, name: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        fs::write(self.path(name), text.replace(from, to)).unwrap();
        self
    }

    /// Converts into the folder itself and says why that fails.
    fn error(&self) -> String {
        let out = self.path("out.gguf");
        let error = convert(self.0.path(), &out, &ConvertOptions::default(), &mut |_, _| {}).map(drop).unwrap_err();
        let left: Vec<_> = fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().contains("gguf")), "{left:?} after {error}");
        error.to_string()
    }
}

const LLAMA: &str = "Tiny-Llama-20K-Instruct";

#[test]
fn incomplete_folders_are_refused() {
    let folder = Copy::of(LLAMA);
    fs::remove_file(folder.path("model-00002-of-00002.safetensors")).unwrap();
    assert!(folder.error().contains("model-00002-of-00002.safetensors`: is missing"));

    let folder = Copy::of(LLAMA);
    folder.edit("model.safetensors.index.json", "model-00002-of-00002", "../model-00002-of-00002");
    assert!(folder.error().contains("without folders"));

    let folder = Copy::of(LLAMA);
    folder.edit("model.safetensors.index.json", "\"model.norm.weight\"", "\"model.norm2.weight\"");
    assert!(folder.error().contains("`model.norm2.weight`: is in model.safetensors.index.json, but in none"));

    let folder = Copy::of(LLAMA);
    let shard = folder.path("model-00001-of-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 100]).unwrap();
    assert!(folder.error().contains("it is cut off"));

    let folder = Copy::of(LLAMA);
    folder.edit("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(folder.error().contains("blk.2."), "{}", folder.error());

    let folder = Copy::of("tiny-gemma3");
    fs::remove_file(folder.path("model.safetensors")).unwrap();
    assert!(folder.error().contains("has no `model*.safetensors`"));

    let folder = Copy::of(LLAMA);
    fs::remove_file(folder.path("tokenizer.json")).unwrap();
    assert!(folder.error().contains("neither tokenizer.model nor tokenizer.json"));
}

#[test]
fn models_that_do_not_fit_their_configuration_are_refused() {
    let folder = Copy::of(LLAMA);
    folder.edit("config.json", "LlamaForCausalLM", "RwkvForCausalLM");
    assert!(folder.error().contains("class `RwkvForCausalLM` are not supported; LlamaForCausalLM"));

    let folder = Copy::of(LLAMA);
    folder.edit("config.json", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4");
    assert!(folder.error().contains("attn_k"), "{}", folder.error());

    let folder = Copy::of(LLAMA);
    folder.edit("config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5");
    assert!(folder.error().contains("q_proj"), "{}", folder.error());

    let folder = Copy::of("tiny-gemma3");
    folder.edit("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000000000000000");
    assert!(folder.error().contains("has 1000000000000000000 layers; at most 65536"), "{}", folder.error());

    let folder = Copy::of("tiny-qwen3moe");
    folder.edit("config.json", "\"hidden_size\": 32", "\"hidden_size\": \"32\"");
    assert!(folder.error().contains("`hidden_size` is \"32\"; expected a non-negative integer"));

    let folder = Copy::of("tiny-qwen3moe");
    folder.edit("tokenizer.json", r"\\p{N}|", r"\\p{N}{1,7}|");
    let error = folder.error();
    assert!(error.contains(r"pre-tokenizer that is not known") && error.contains("--pre NAME"), "{error}");

    let folder = Copy::of("tiny-qwen3moe");
    folder.edit("config.json", "{\n", "{\n\"quantization_config\": {\"quant_method\": \"aqlm\"},\n");
    assert!(folder.error().contains("quantized with `aqlm`"));

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    let out = folder.path().join("out.gguf");
    let error = convert(folder.path(), &out, &ConvertOptions::default(), &mut |_, _| {}).map(drop).unwrap_err();
    assert!(error.to_string().contains("llcuda merge-lora"), "{error}");
}

#[test]
fn broken_weights_are_refused() {
    let folder = Copy::of("tiny-gemma3");
    let mut bytes = fs::read(folder.path("model.safetensors")).unwrap();
    // The last weight of the file, in bfloat16.
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    fs::write(folder.path("model.safetensors"), bytes).unwrap();
    assert!(folder.error().contains("has the weight NaN; the checkpoint is broken"));
}

#[test]
fn a_result_that_exists_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "mine").unwrap();
    let convert_with = |writer| {
        let options = ConvertOptions { writer, ..ConvertOptions::default() };
        convert(&data("tiny-gemma3"), &out, &options, &mut |_, _| {})
    };
    let error = convert_with(WriterOptions::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("out.gguf` exists"), "{error}");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    convert_with(WriterOptions { overwrite: true, ..WriterOptions::default() }).unwrap();
    assert!(fs::read(&out).unwrap().starts_with(b"GGUF"));
}
