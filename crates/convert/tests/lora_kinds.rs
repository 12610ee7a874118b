//! What PEFT can ask of a merge beside plain factors: each kind equals PEFT's own merge within the rounding of halves.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use convert::{MergeOptions, OutType, merge_lora};
use gguf::{Gguf, WriterOptions};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};

const BASE: &str = "Tiny-Llama-20K-Instruct";
const MOE: &str = "tiny-qwen3moe";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert").join(name)
}

/// Merges into F32.
fn merge(base: &Path, adapter: &Path) -> Result<Gguf, String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let options = MergeOptions { scale: 1.0, out_type: Some(OutType::F32), writer: WriterOptions::default() };
    merge_lora(base, &[adapter.to_owned()], &out, &options, &mut |_, _| {}).map_err(|e| e.to_string())?;
    Ok(Gguf::from_bytes(std::fs::read(out).unwrap()).unwrap())
}

fn floats(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    let bytes = gguf.data(tensor).as_chunks().0.iter();
    bytes.map(|b| f32::from_le_bytes(*b)).collect()
}

/// The changed tensors, by their GGUF names, of the model that PEFT merged: `expected.safetensors` beside an adapter.
fn check(base: &str, adapter: &str, names: &[&str]) {
    let merged = merge(&data(base), &data(adapter)).unwrap();
    let bytes = std::fs::read(data(adapter).join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(expected.len(), names.len());
    for name in names {
        let view = expected.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::F16);
        let halves = view.data().as_chunks().0.iter().map(|b| quant::f16_to_f32(u16::from_le_bytes(*b)));
        let found = floats(&merged, name);
        assert_eq!(found.len(), view.data().len() / 2, "{name}");
        for (i, (a, b)) in found.iter().zip(halves).enumerate() {
            let rounding = (b.abs() * 2.0_f32.powi(-11)).max(2.0_f32.powi(-25));
            assert!((a - b).abs() <= 1.01 * rounding, "{adapter}, {name}, weight {i}: {a}, PEFT has {b}");
        }
    }
    // Nothing else changed.
    let before = merge(&data(base), &without_effect(adapter).path().join("adapter")).unwrap();
    for tensor in merged.tensors().iter().filter(|t| !names.contains(&t.name.as_str())) {
        assert_eq!(floats(&merged, &tensor.name), floats(&before, &tensor.name), "{}", tensor.name);
    }
}

/// The same adapter with all factors zero: what it changes stays as it was.
fn without_effect(adapter: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("adapter");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(data(adapter).join("adapter_config.json"), to.join("adapter_config.json")).unwrap();
    let bytes = std::fs::read(data(adapter).join("adapter_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let zeros: Vec<_> = tensors
        .tensors()
        .into_iter()
        .map(|(n, t)| (n, t.dtype(), t.shape().to_vec(), vec![0; t.data().len()]))
        .collect();
    let factors = zeros.iter().filter(|(name, ..)| name.contains("lora_"));
    let views = factors.map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(to.join("adapter_model.safetensors"), serialize(views, None).unwrap()).unwrap();
    folder
}

#[test]
fn rank_stabilized_factors_patterns_and_saved_modules_merge_as_in_peft() {
    // Ranks 2 (`rank_pattern`) and 4, an alpha of its own (`alpha_pattern`), alpha / sqrt(rank); the output, tied in the
    // base, was trained as a whole (`modules_to_save`).
    let layers = ["blk.0.attn_v.weight", "blk.1.attn_v.weight", "blk.0.attn_output.weight", "blk.1.attn_output.weight"];
    check(BASE, "adapter-rslora", &[&layers[..], &["output.weight"]].concat());
    let merged = merge(&data(BASE), &data("adapter-rslora")).unwrap();
    assert!(floats(&merged, "output.weight") != floats(&merged, "token_embd.weight"), "no longer tied");
}

#[test]
fn factors_of_a_tied_embedding_change_the_output_too() {
    check(BASE, "adapter-tied", &["token_embd.weight", "blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]);
    let merged = merge(&data(BASE), &data("adapter-tied")).unwrap();
    assert!(merged.tensor("output.weight").is_none(), "still tied");
}

#[test]
fn attention_of_a_mixture_of_experts_merges_as_in_peft() {
    let names = ["blk.0.attn_q.weight", "blk.1.attn_q.weight", "blk.0.attn_v.weight", "blk.1.attn_v.weight"];
    check(MOE, "adapter-moe", &names);
}

#[test]
fn factors_of_experts_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(data("adapter-moe/adapter_config.json"), folder.path().join("adapter_config.json")).unwrap();
    let write = |module: &str, num_rows: usize, num_cols: usize| {
        let (a, b) = (vec![0_u8; 4 * 2 * num_cols], vec![0_u8; 4 * 2 * num_rows]);
        let name = |part: &str| format!("base_model.model.model.layers.0.mlp.{module}.{part}.weight");
        let views = [
            (name("lora_A"), TensorView::new(Dtype::F32, vec![2, num_cols], &a).unwrap()),
            (name("lora_B"), TensorView::new(Dtype::F32, vec![num_rows, 2], &b).unwrap()),
        ];
        std::fs::write(folder.path().join("adapter_model.safetensors"), serialize(views, None).unwrap()).unwrap();
        merge(&data(MOE), folder.path()).map(drop)
    };
    // One expert alone, as adapters had them before experts became one tensor.
    let error = write("experts.1.down_proj", 32, 16).unwrap_err();
    assert!(error.contains("layers.0.mlp.experts.1.down_proj") && error.contains("every expert"), "{error}");
    // The router is a matrix as any other.
    write("gate", 4, 32).unwrap();
    // All experts at once: a parameter, not a module.
    let config = std::fs::read_to_string(data("adapter-moe/adapter_config.json")).unwrap();
    let config = config.replace("\"target_parameters\": []", "\"target_parameters\": [\"mlp.experts.gate_up_proj\"]");
    std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
    let error = write("gate", 4, 32).unwrap_err();
    assert!(error.contains("target_parameters"), "{error}");
}
