//! Each family's folder becomes what llama.cpp's converter makes of it: the same keys of the same types, the same tensors.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod generated;

use convert::{ConvertOptions, OutType, convert};
use generated::Description;
use gguf::Gguf;

fn out_type(name: &str) -> OutType {
    match name {
        "f32" => OutType::F32,
        "f16" => OutType::F16,
        "bf16" => OutType::Bf16,
        "q8_0" => OutType::Q8_0,
        _ => panic!("{name}"),
    }
}

/// Converts a description; what differs from its expectations.
fn check(description: &Description) -> Vec<String> {
    let parent = tempfile::tempdir().unwrap();
    let (folder, out) = (description.write(parent.path()), parent.path().join("out.gguf"));
    let options = ConvertOptions { out_type: Some(out_type(description.out_type())), ..ConvertOptions::default() };
    match convert(&folder, &out, &options, &mut |_, _| {}) {
        Ok(_) => description.differences(&Gguf::open(&out).unwrap()),
        Err(error) => vec![error.to_string()],
    }
}

fn check_all(folder: &str, at_least: usize) {
    let all = Description::all(folder);
    assert!(all.len() >= at_least, "{} descriptions", all.len());
    let wrong: Vec<_> =
        all.iter().flat_map(|d| check(d).into_iter().map(|what| format!("{}: {what}", d.name))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_family_becomes_what_the_reference_makes_of_it() {
    check_all("families", 37);
}

#[test]
fn quantized_checkpoints_become_what_the_reference_makes_of_their_weights() {
    check_all("quantized", 12);
}
