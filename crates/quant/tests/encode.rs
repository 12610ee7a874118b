//! Encoders against other engines' blocks: the same bytes where a rule says which, an error as small elsewhere.

use std::path::PathBuf;

use quant::{Format, GgmlType, Isa};
use safetensors::SafeTensors;

/// Types whose rule leaves no choice.
const EXACT: &[GgmlType] = &[
    GgmlType::BF16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::MXFP4,
    GgmlType::TQ1_0,
    GgmlType::TQ2_0,
    GgmlType::Q1_0,
];

/// Weights, the blocks that another engine made of them, and these blocks' values.
struct Golden {
    source: Vec<f32>,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

fn golden(format: &Format) -> Option<Golden> {
    let name = format!("golden/quants/{}.safetensors", format.ggml_type.name().to_lowercase());
    let root = std::env::var_os("LLCUDA_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let file = std::fs::read(root.join(&name)).ok();
    let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    assert!(file.is_some() || !required || format.ggml_type.block_len() == 1, "{name} is missing");
    let file = file?;
    let tensors = SafeTensors::deserialize(&file).expect("a golden file");
    let tensor = |name: &str| tensors.tensor(name).expect("a tensor of the golden file").data().to_vec();
    let floats = |name: &str| tensor(name).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Some(Golden { source: floats("real.src"), bytes: tensor("real.bytes"), values: floats("real.values") })
}

fn encode(format: &Format, isa: Isa, x: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let mut bytes = vec![0; format.row_bytes(x.len())];
    format.encode_row(isa, x, importance, &mut bytes);
    bytes
}

fn decode(format: &Format, bytes: &[u8], len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    format.decode_row(Isa::detect(), bytes, &mut values);
    values
}

/// The weighted root mean square of the difference.
fn rmse(a: &[f32], b: &[f32], weight: impl Fn(usize) -> f32) -> f64 {
    let squares = a.iter().zip(b).enumerate().map(|(i, (a, b))| f64::from(weight(i)) * f64::from(a - b).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

#[test]
fn errors_are_as_small_as_those_of_other_engines() {
    for format in Format::all() {
        let Some(golden) = golden(format) else {
            eprintln!("{}: skipped", format.ggml_type);
            continue;
        };
        let name = format.ggml_type;
        let bytes = encode(format, Isa::detect(), &golden.source, None);
        if EXACT.contains(&name) {
            assert!(bytes == golden.bytes, "{name}: other bytes than the rule's");
        }
        let ours = rmse(&decode(format, &bytes, golden.source.len()), &golden.source, |_| 1.0);
        let theirs = rmse(&golden.values, &golden.source, |_| 1.0);
        eprintln!("{name}: error {ours:.4e}, another engine's {theirs:.4e}, ratio {:.4}", ours / theirs);
        assert!(ours <= 1.02 * theirs, "{name}: error {ours}, another engine's is {theirs}");
    }
}

/// Numbers like those of a model: bell-shaped, some far out. Depends on `seed` alone.
fn weights(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let bell = |i: usize, x: f32| if i % 97 == 3 { 0.12 * x } else { 0.02 * x };
    (0..len).map(|i| bell(i, (0..6).map(|_| uniform() - 0.5).sum::<f32>() * 1.4)).collect()
}

/// How large the error may be, as a part of the weights' own root mean square, for weights like those of models.
fn error_bound(ggml_type: GgmlType) -> f64 {
    match ggml_type {
        GgmlType::F32 => 0.0,
        GgmlType::F16 => 3e-4,
        GgmlType::BF16 => 2e-3,
        GgmlType::Q8_0 => 0.009,
        GgmlType::Q6_K => 0.026,
        GgmlType::Q5_K | GgmlType::Q5_1 => 0.05,
        GgmlType::Q5_0 => 0.07,
        GgmlType::Q4_K | GgmlType::Q4_1 | GgmlType::IQ4_NL | GgmlType::IQ4_XS | GgmlType::NVFP4 => 0.11,
        GgmlType::Q4_0 => 0.14,
        GgmlType::MXFP4 => 0.15,
        GgmlType::Q3_K | GgmlType::IQ3_S => 0.2,
        GgmlType::IQ3_XXS => 0.23,
        GgmlType::Q2_K | GgmlType::IQ2_S | GgmlType::IQ2_XS => 0.35,
        GgmlType::IQ2_XXS => 0.42,
        GgmlType::IQ1_S | GgmlType::IQ1_M | GgmlType::Q2_0 => 0.58,
        // One bit, and ternary digits for models that are ternary.
        _ => 0.85,
    }
}

#[test]
fn errors_are_bounded_and_bytes_the_same_on_every_instruction_set() {
    let x = weights(1, 2048);
    let rms = rmse(&x, &[0.0; 2048], |_| 1.0);
    let mut faults = Vec::new();
    for format in Format::all() {
        let expected = encode(format, Isa::available()[0], &x, None);
        for isa in Isa::available() {
            assert!(encode(format, isa, &x, None) == expected, "{} {}", format.ggml_type, isa.name());
        }
        let error = rmse(&decode(format, &expected, x.len()), &x, |_| 1.0) / rms;
        eprintln!("{}: relative error {error:.4}", format.ggml_type);
        if error > error_bound(format.ggml_type) {
            faults.push(format!("{}: relative error {error}", format.ggml_type));
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn importance_makes_what_is_important_more_exact() {
    let x = weights(2, 4096);
    let importance: Vec<f32> = (0..4096).map(|i| if i % 7 == 0 { 30.0 } else { 0.5 }).collect();
    let fixed = [GgmlType::Q8_0, GgmlType::MXFP4, GgmlType::TQ1_0, GgmlType::TQ2_0, GgmlType::Q1_0];
    for format in Format::all().iter().filter(|f| f.ggml_type.block_len() > 1 && !fixed.contains(&f.ggml_type)) {
        let [with, without] = [Some(&importance[..]), None].map(|importance| {
            let bytes = encode(format, Isa::detect(), &x, importance);
            rmse(&decode(format, &bytes, x.len()), &x, |i| if i % 7 == 0 { 30.0 } else { 0.5 })
        });
        eprintln!("{}: weighted error {:.3} of that without importance", format.ggml_type, with / without);
        assert!(with < 0.99 * without, "{}: {with} with importance, {without} without", format.ggml_type);
        // Importance that says nothing is none.
        for useless in [0.0, f32::NAN, f32::INFINITY] {
            let bytes = encode(format, Isa::detect(), &x, Some(&[useless; 4096]));
            assert!(bytes == encode(format, Isa::detect(), &x, None), "{} {useless}", format.ggml_type);
        }
    }
}

#[test]
fn blocks_that_a_format_can_hold_stay_nearly_as_they_are() {
    let x = weights(3, 1024);
    for format in Format::all() {
        let once = decode(format, &encode(format, Isa::detect(), &x, None), x.len());
        let twice = decode(format, &encode(format, Isa::detect(), &once, None), x.len());
        let error = rmse(&once, &twice, |_| 1.0) / rmse(&once, &x, |_| 1.0).max(1e-9);
        eprintln!("{}: a second time loses {error:.4} of the first", format.ggml_type);
        assert!(error <= 0.5, "{}: a second time loses {error} of what the first did", format.ggml_type);
    }
}

#[test]
fn odd_blocks_encode_to_finite_values_near_them() {
    let ones = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    type Weight = fn(usize) -> f32;
    let blocks: [(&str, Weight); 7] = [
        ("zeros", |_| 0.0),
        ("a constant", |_| 0.75),
        ("a negative constant", |_| -0.75),
        ("one outlier", |i| if i == 100 { 50.0 } else { 0.0 }),
        ("the least of floats", |_| f32::from_bits(1)),
        ("less than halves hold", |i| if i.is_multiple_of(3) { 1e-12 } else { -1e-12 }),
        ("as large as halves hold", |i| if i.is_multiple_of(2) { 6e4 } else { -6e4 }),
    ];
    for format in Format::all() {
        for (name, block) in blocks {
            let x: Vec<f32> = (0..256).map(block).collect();
            let found = decode(format, &encode(format, Isa::detect(), &x, None), 256);
            let largest = x.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
            for (x, found) in x.iter().zip(&found) {
                let bound = 1.7 * largest + 1e-6;
                assert!((x - found).abs() <= bound, "{}: {x} of {name} became {found}", format.ggml_type);
            }
        }
        let exact: Vec<f32> = (0..256).map(ones).collect();
        let found = decode(format, &encode(format, Isa::detect(), &exact, None), 256);
        let error = rmse(&found, &exact, |_| 1.0);
        let bound = if format.ggml_type.block_bytes() * 8 < 2 * format.ggml_type.block_len() { 0.3 } else { 0.15 };
        assert!(error <= bound, "{}: plus and minus one lose {error}", format.ggml_type);
    }
}
