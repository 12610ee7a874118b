//! The three kinds of folder that Unsloth saves, to files that are served.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    http::post,
    server::{Server, command},
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convert").join(name)
}

/// What the command says; `Err` is what it says where it fails.
fn run(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = command().args(args).current_dir(folder).output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Copies a folder of the test data.
fn copy(name: &str, folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for entry in fs::read_dir(data(name)).expect("a folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("a copy");
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    edit(&mut json);
    fs::write(path, json.to_string()).expect("a file");
}

/// The next token's most likely candidates after a text.
fn logprobs(model: &Path) -> Vec<f64> {
    let server = Server::start(&format!("--model={}", model.display()), &[], &[]);
    let body = json!({"prompt": "the quick brown", "max_tokens": 4, "temperature": 0, "logprobs": 1});
    let answer = post(&server.address, "/v1/completions", &body.to_string());
    let json: Value = serde_json::from_str(&answer.body).expect("JSON");
    let list = json["choices"][0]["logprobs"]["content"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    list.iter().map(|token| token["logprob"].as_f64().expect("a number")).collect()
}

const BASE: &str = "Tiny-Llama-20K-Instruct";

#[test]
fn a_folder_merged_in_16_bits_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("merged_16bit");
    copy(BASE, &model);
    edit_json(&model.join("config.json"), |config| {
        config["unsloth_fixed"] = json!(true);
        config["unsloth_version"] = json!("2025.11.1");
        config["_name_or_path"] = json!("unsloth/Llama-3.2-1B-Instruct");
    });
    assert!(
        run(folder.path(), &["convert", "merged_16bit", "-o", "a.gguf"]).expect("a file").contains("llama in BF16")
    );
    assert_eq!(logprobs(&folder.path().join("a.gguf")), logprobs(&data(&format!("{BASE}.bf16.gguf"))));
}

/// The folder that `save_pretrained_merged(.., save_method = "merged_4bit")` makes of the base.
fn write_merged_4bit(folder: &Path) {
    let base = data(BASE).display().to_string();
    run(folder, &["convert", &base, "-o", "merged_4bit", "--to-nf4"]).expect("a folder");
    edit_json(&folder.join("merged_4bit/config.json"), |config| {
        config["quantization_config"] = json!({
            "_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true,
            "llm_int8_enable_fp32_cpu_offload": false, "llm_int8_has_fp16_weight": false, "llm_int8_skip_modules": null,
            "llm_int8_threshold": 6.0, "load_in_4bit": true, "load_in_8bit": false, "quant_method": "bitsandbytes",
        });
    });
}

#[test]
fn a_folder_merged_in_4_bits_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    write_merged_4bit(folder.path());
    assert!(run(folder.path(), &["convert", "merged_4bit", "-o", "a.gguf"]).expect("a file").contains("llama in BF16"));
    let (found, exact) = (logprobs(&folder.path().join("a.gguf")), logprobs(&data(&format!("{BASE}.bf16.gguf"))));
    assert_ne!(found, exact, "weights of 4 bits are others");
    assert!((found[0] - exact[0]).abs() < 0.1, "{found:?} and {exact:?}");
}

#[test]
fn quantize_writes_the_same_4_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = data(BASE).display().to_string();
    run(folder.path(), &["convert", &base, "-o", "a", "--to-nf4"]).expect("a folder");
    run(folder.path(), &["quantize", "--to-nf4", &base, "b"]).expect("a folder");
    let weights = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).expect("weights");
    assert!(weights("a") == weights("b"), "the two commands write other weights");
    let refused = run(folder.path(), &["quantize", "--to-nf4", &base, "c", "Q4_K_M"]).expect_err("a type too many");
    assert!(refused.contains("FOLDER OUT-FOLDER; there are 3"), "{refused}");
}

#[test]
fn an_adapter_is_merged_into_the_4_bit_base_it_was_trained_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let adapter = folder.path().join("lora_model");
    copy("adapter-plain", &adapter);
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(data(BASE).join(name), adapter.join(name)).expect("a copy");
    }
    edit_json(&adapter.join("adapter_config.json"), |config| {
        config["base_model_name_or_path"] = json!("unsloth/llama-3.2-1b-instruct-unsloth-bnb-4bit");
    });
    let refused = run(folder.path(), &["convert", "lora_model", "-o", "a.gguf"]).expect_err("it has no weights");
    for word in ["unsloth/llama-3.2-1b-instruct-unsloth-bnb-4bit", "llcuda merge-lora BASE ADAPTER"] {
        assert!(refused.contains(word), "{refused}");
    }
    write_merged_4bit(folder.path());
    run(folder.path(), &["convert", "merged_4bit", "-o", "base.gguf"]).expect("a file");
    for (base, out) in [("merged_4bit", "a.gguf"), ("base.gguf", "b.gguf")] {
        run(folder.path(), &["merge-lora", base, "lora_model", "-o", out]).expect("a file");
    }
    let of = |name: &str| logprobs(&folder.path().join(name));
    assert_eq!(of("a.gguf"), of("b.gguf"));
    assert_ne!(of("a.gguf"), of("base.gguf"), "the adapter changes something");
}
