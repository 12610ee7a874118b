//! Adapters are merged as PEFT merges them, into folders and GGUF files, and converted as llama.cpp does.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use convert::{ConvertOptions, MergeOptions, OutType, convert_lora, merge_lora};
use gguf::{GgmlType, Gguf, WriterOptions};
use quant::{Format, Isa};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert").join(name)
}

const BASE: &str = "Tiny-Llama-20K-Instruct";

fn options(out_type: Option<OutType>) -> MergeOptions {
    MergeOptions { scale: 1.0, out_type, writer: WriterOptions::default() }
}

fn merge(base: &Path, adapter: &Path, options: &MergeOptions) -> Result<Gguf, String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    merge_lora(base, &[adapter.to_owned()], &out, options, &mut |_, _| {}).map_err(|e| e.to_string())?;
    Ok(Gguf::from_bytes(std::fs::read(out).unwrap()).unwrap())
}

fn values(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no {name}"));
    let format = Format::of(tensor.ggml_type).unwrap();
    let mut out = vec![0.0; tensor.num_weights()];
    let rows = gguf.data(tensor).chunks(format.row_bytes(tensor.shape[0]));
    rows.zip(out.chunks_mut(tensor.shape[0])).for_each(|(bytes, out)| format.decode_row(Isa::detect(), bytes, out));
    out
}

/// The largest difference of any weight, in units of the half-precision rounding at its magnitude.
fn worst_in_halves(found: &Gguf, expected: &Gguf) -> f32 {
    assert_eq!(found.tensors().len(), expected.tensors().len());
    let differences = expected.tensors().iter().flat_map(|t| {
        let pairs = values(found, &t.name).into_iter().zip(values(expected, &t.name));
        pairs.map(|(a, b)| (a - b).abs() / (b.abs() * 2.0_f32.powi(-11)).max(2.0_f32.powi(-25))).collect::<Vec<_>>()
    });
    differences.fold(0.0, f32::max)
}

#[test]
fn merging_equals_peft_within_the_rounding_of_halves() {
    let bases = [data(BASE), data(&format!("{BASE}.bf16.gguf"))];
    for name in ["plain", "dora"] {
        let expected = Gguf::open(&data(&format!("merged-{name}.f16.gguf"))).unwrap();
        for base in &bases {
            let merged = merge(base, &data(&format!("adapter-{name}")), &options(Some(OutType::F32))).unwrap();
            let worst = worst_in_halves(&merged, &expected);
            assert!(worst <= 1.01, "{name} into {}: {worst} roundings apart", base.display());
        }
    }
}

#[test]
fn a_converted_adapter_equals_the_reference_and_merges_alike() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("adapter.gguf");
    let options_f32 = ConvertOptions { out_type: Some(OutType::F32), ..ConvertOptions::default() };
    convert_lora(&data("adapter-plain"), &data(BASE), &out, &options_f32, &mut |_, _| {}).unwrap();
    let (found, expected) = (Gguf::open(&out).unwrap(), Gguf::open(&data("adapter-plain.f16.gguf")).unwrap());
    for (key, value) in expected.metadata().iter().filter(|(key, _)| *key != "general.file_type") {
        assert_eq!(found.metadata().get(key), Some(value), "{key}");
    }
    for tensor in expected.tensors() {
        // The reference forgets the alpha of its own that this module has: 5 instead of 8.
        let factor = if tensor.name == "blk.1.attn_k.weight.lora_b" { 5.0 / 8.0 } else { 1.0 };
        assert_eq!(found.tensor(&tensor.name).unwrap().shape, tensor.shape, "{}", tensor.name);
        for (a, b) in values(&found, &tensor.name).iter().zip(values(&expected, &tensor.name)) {
            assert!((a - b * factor).abs() <= b.abs() * 2.0_f32.powi(-11), "{}: {a} and {b}", tensor.name);
        }
    }
    let merged = merge(&data(BASE), &out, &options(Some(OutType::F32))).unwrap();
    let worst = worst_in_halves(&merged, &Gguf::open(&data("merged-plain.f16.gguf")).unwrap());
    assert!(worst <= 1.01, "{worst} roundings apart");
}

#[test]
fn a_quantized_base_keeps_its_types_and_what_does_not_change() {
    let base = data(&format!("{BASE}.q8_0.gguf"));
    let original = Gguf::open(&base).unwrap();
    let merged = merge(&base, &data("adapter-dora"), &options(None)).unwrap();
    for tensor in original.tensors() {
        let found = merged.tensor(&tensor.name).unwrap();
        assert_eq!((found.ggml_type, &found.shape), (tensor.ggml_type, &tensor.shape), "{}", tensor.name);
        let changes = ["attn_q.weight", "attn_k.weight", "ffn_down.weight"].iter().any(|n| tensor.name.ends_with(n));
        assert_eq!(merged.data(found) != original.data(tensor), changes, "{}", tensor.name);
    }
    assert_eq!(merged.tensor("blk.0.attn_q.weight").unwrap().ggml_type, GgmlType::Q8_0);
    let unchanged = merge(&base, &data("adapter-plain"), &MergeOptions { scale: 0.0, ..options(None) }).unwrap();
    let name = "blk.1.ffn_up.weight";
    let pairs = values(&unchanged, name).into_iter().zip(values(&original, name));
    pairs.for_each(|(a, b)| assert!((a - b).abs() <= 1e-3 * b.abs().max(0.01), "{a} and {b}"));
}

#[test]
fn adapters_of_another_base_are_refused() {
    let error = |base: &str, adapter: &str| merge(&data(base), &data(adapter), &options(None)).map(drop).unwrap_err();
    let other = error("tiny-gemma3", "adapter-plain");
    assert!(other.contains("trained for another base"), "{other}");
    let other = error("tiny-gemma3", "adapter-plain.f16.gguf");
    assert!(other.contains("an adapter for `llama`, but the base is `gemma3`"), "{other}");
    let other = error("tiny-qwen3moe.f32.gguf", "adapter-plain");
    assert!(
        other.contains("ffn_down.weight`, which the base does not have") || other.contains("another base"),
        "{other}"
    );
    let other = error(BASE, "tiny-gemma3.f16.gguf");
    assert!(other.contains("is no LoRA adapter"), "{other}");
    let other = error(BASE, "tiny-gemma3");
    assert!(other.contains("has no adapter_config.json"), "{other}");
}
