//! Folders are converted as llama.cpp's own converter does: the same keys of the same types, the same tensors to the bit.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use convert::{ConvertOptions, OutType, convert};
use gguf::{Gguf, Split, WriterOptions};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert")
}

fn convert_to(name: &str, out_type: Option<OutType>, max_split_bytes: Option<u64>) -> (tempfile::TempDir, Gguf) {
    let folder = tempfile::tempdir().unwrap();
    let split = max_split_bytes.map_or(Split::Whole, Split::MaxBytes);
    let writer = WriterOptions { split, ..WriterOptions::default() };
    let options = ConvertOptions { out_type, writer, ..ConvertOptions::default() };
    let converted = convert(&data().join(name), &folder.path().join("out.gguf"), &options, &mut |_, _| {}).unwrap();
    assert_eq!(converted.not_served, None, "{name}");
    let gguf = Gguf::open(&converted.paths[0]).unwrap();
    (folder, gguf)
}

fn assert_same(found: &Gguf, expected: &Gguf, name: &str) {
    for (key, value) in expected.metadata().iter() {
        assert_eq!(found.metadata().get(key), Some(value), "{name}: {key}");
        assert_eq!(found.metadata().value_type(key), expected.metadata().value_type(key), "{name}: {key}");
    }
    let extra = found.metadata().iter().find(|(key, _)| expected.metadata().get(key).is_none());
    assert_eq!(extra, None, "{name}");
    assert_eq!(found.tensors().len(), expected.tensors().len(), "{name}");
    for tensor in expected.tensors() {
        let ours = found.tensor(&tensor.name).unwrap_or_else(|| panic!("{name}: no {}", tensor.name));
        assert_eq!((&ours.shape, ours.ggml_type), (&tensor.shape, tensor.ggml_type), "{name}: {}", tensor.name);
        assert!(found.data(ours) == expected.data(tensor), "{name}: {} differs", tensor.name);
    }
}

#[test]
fn results_equal_the_reference() {
    let cases = [
        ("Tiny-Llama-20K-Instruct", "bf16", Some(OutType::Bf16)),
        ("Tiny-Llama-20K-Instruct", "bf16", None),
        ("Tiny-Llama-20K-Instruct", "q8_0", Some(OutType::Q8_0)),
        ("tiny-gemma3", "f16", Some(OutType::F16)),
        ("tiny-qwen3moe", "f32", Some(OutType::F32)),
    ];
    for (name, type_name, out_type) in cases {
        let expected = Gguf::open(&data().join(format!("{name}.{type_name}.gguf"))).unwrap();
        let (_folder, found) = convert_to(name, out_type, None);
        assert_same(&found, &expected, name);
    }
}

#[test]
fn a_split_holds_the_same_tensors() {
    let expected = Gguf::open(&data().join("tiny-gemma3.f16.gguf")).unwrap();
    let (folder, found) = convert_to("tiny-gemma3", Some(OutType::F16), Some(20_000));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 2);
    for tensor in expected.tensors() {
        assert!(found.data(found.tensor(&tensor.name).unwrap()) == expected.data(tensor), "{} differs", tensor.name);
    }
}
