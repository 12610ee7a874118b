//! Each family's folder becomes what llama.cpp's converter makes of it: the same keys of the same types, the same tensors.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod generated;

use convert::{ConvertOptions, OutType, convert};
use generated::{Description, data};
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
        Ok(converted) => {
            let not_served = converted.not_served.map(|reason| format!("cannot be served: {reason}"));
            not_served.into_iter().chain(description.differences(&Gguf::open(&out).unwrap())).collect()
        }
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
    check_all("families", 49);
}

#[test]
fn quantized_checkpoints_become_what_the_reference_makes_of_their_weights() {
    check_all("quantized", 14);
}

#[test]
fn quantized_checkpoints_that_are_not_whole_are_refused() {
    let up = "model.layers.0.mlp.up_proj";
    let cases = [
        ("fp8-blocks", format!("\"{up}.weight_scale_inv\":[2,2]"), format!("\"{up}.x\":[2,2]"), "has no scale"),
        (
            "fp8-blocks",
            format!("\"{up}.weight_scale_inv\":[2,2]"),
            format!("\"{up}.weight_scale_inv\":[3,2]"),
            "of shape [3, 2] does not fit weights of shape [96, 64]",
        ),
        (
            "gptq-ordered",
            format!("\"{up}.qzeros\""),
            format!("\"{up}.x\""),
            "`model.layers.0.mlp.up_proj.qzeros` is missing",
        ),
        (
            "gptq-ordered",
            format!("\"{up}.scales\":[4,96]"),
            format!("\"{up}.scales\":[4,95]"),
            "expected I32 of shape [8, 95]",
        ),
        ("gptq-ordered", "\"values\":[0,".to_owned(), "\"values\":[4,".to_owned(), "names group 4 of 4"),
        ("gptq-ordered", "\"values\":[0,".to_owned(), "\"values\":[-1,".to_owned(), "names group 4294967295 of 6"),
        (
            "ct-packed",
            "\"values\":[96,64]".to_owned(),
            "\"values\":[96,-64]".to_owned(),
            "is [96, -64]; expected two positive sides",
        ),
        (
            "ct-packed",
            "\"values\":[96,64]".to_owned(),
            "\"values\":[96,65]".to_owned(),
            "expected I32 of shape [96, 9]",
        ),
        ("awq", format!("\"{up}.qzeros\":[2,12]"), format!("\"{up}.qzeros\":[2,11]"), "expected I32 of shape [2, 12]"),
        ("fp8-modelopt", "\"FP8\"".to_owned(), "\"NVFP4\"".to_owned(), "quantized with `modelopt` (NVFP4)"),
    ];
    for (name, from, to, expected) in cases {
        let broken = Description::read(&data().join("quantized").join(format!("{name}.json"))).with(&from, &to);
        let said = check(&broken).join("\n");
        assert!(said.contains(expected), "{name}: {said} instead of {expected}");
    }
}

#[test]
fn pooling_that_is_not_read_is_refused() {
    let bert = Description::read(&data().join("families/bert.json"));
    for (from, to, expected) in [
        ("models.Normalize", "models.Dense", "has a module of type `Dense`"),
        (
            "\"pooling_mode_cls_token\":true",
            "\"pooling_mode_max_tokens\":true",
            "expected `mean`, `cls` or `lasttoken`",
        ),
        ("\"path\":\"1_Pooling\"", "\"path\":\"../1_Pooling\"", "has the module folder `../1_Pooling`"),
    ] {
        let said = check(&bert.with(from, to)).join("\n");
        assert!(said.contains(expected), "{said} instead of {expected}");
    }
}

/// Whatever shapes a file gives its tensors, the answer is an error: no panic, no endless list.
#[test]
fn wrong_shapes_are_refused() {
    let families = Description::all("families").into_iter().filter(|d| d.name == "deepseek2" || d.name == "gptossmx");
    // The reader looks at these; other parts, and a scale for a whole matrix, may have any shape.
    let parts = ["layers.1.self_attn.k_proj", "layers.1.self_attn.kv_b_proj", "layers.1.mlp.experts.gate_up_proj"];
    let unused = ["input_scale", "activation_scale", "weight_format"];
    for description in Description::all("quantized").into_iter().chain(families) {
        for (name, shape) in description.shapes() {
            let is_read =
                parts.iter().any(|part| name.contains(part)) && !unused.iter().any(|part| name.ends_with(part));
            let Some((last, leading)) = shape.split_last().filter(|_| is_read) else { continue };
            let with_zero = [shape.as_slice(), &[0]].concat();
            for wrong in [vec![0], vec![0, 1 << 40], with_zero, [leading, &[last + 1]].concat()] {
                let said = check(&description.with_shape(&name, &wrong));
                assert!(!said.is_empty(), "{}: {name} of shape {wrong:?} instead of {shape:?}", description.name);
            }
        }
    }
}
