//! Blocks of every type against the floats that other engines decode them to, and dot products against `f64`.

use std::path::PathBuf;

use quant::{Activations, Format, Isa, Layout, Panel, Precision};
use safetensors::SafeTensors;

/// The golden file of a type, where the test data is there.
fn golden_file(format: &Format) -> Option<Vec<u8>> {
    let name = format!("golden/quants/{}.safetensors", format.ggml_type.name().to_lowercase());
    let root = std::env::var_os("LLCUDA_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let bytes = std::fs::read(root.join(&name)).ok();
    let required = std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    // Plain floats have no golden file: their decoding is tested exhaustively elsewhere.
    assert!(bytes.is_some() || !required || format.ggml_type.block_len() == 1, "{name} is missing");
    bytes
}

/// The blocks of a golden file and their values.
fn blocks(golden: &[u8]) -> Vec<(Vec<u8>, Vec<f32>)> {
    let tensors = SafeTensors::deserialize(golden).expect("a golden file");
    let tensor = |name: String| tensors.tensor(&name).expect("a tensor of the golden file").data().to_vec();
    let floats = |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    ["real", "rand", "edge"].map(|s| (tensor(format!("{s}.bytes")), floats(tensor(format!("{s}.values"))))).to_vec()
}

#[test]
fn blocks_decode_bit_for_bit_on_every_instruction_set() {
    for format in Format::all() {
        let Some(golden) = golden_file(format) else {
            eprintln!("{}: skipped", format.ggml_type);
            continue;
        };
        for (bytes, expected) in blocks(&golden) {
            for isa in Isa::available() {
                let mut found = vec![0.0; expected.len()];
                format.decode_row(isa, &bytes, &mut found);
                for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                    let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                    assert!(same, "{} {}: weight {i} is {a:e}, expected {b:e}", format.ggml_type, isa.name());
                }
            }
        }
    }
}

/// Activations in a fixed pattern that has outliers, as those of models do.
fn activations(isa: Isa, num_tokens: usize, num_cols: usize) -> Activations {
    let mut x = Activations::new();
    x.resize(num_tokens, num_cols);
    let stride = x.stride();
    for (t, row) in x.floats_mut().chunks_mut(stride).enumerate() {
        for (i, x) in row[..num_cols].iter_mut().enumerate() {
            let wave = ((i * 37 + t * 11) % 101) as f32 / 50.0 - 1.0;
            *x = if i % 83 == 5 { 20.0 * wave } else { wave };
        }
    }
    x.quantize(isa);
    x
}

fn multiply(isa: Isa, layout: Layout, bytes: &[u8], x: &Activations) -> Vec<f32> {
    let mut panel = Panel::new();
    panel.load(isa, layout, bytes);
    let mut out = vec![f32::NAN; panel.num_rows() * x.num_tokens()];
    panel.multiply(isa, x, 0..x.num_tokens(), |row, token, value| out[row * x.num_tokens() + token] = value);
    out
}

#[test]
fn dot_products_are_near_those_of_f64() {
    for format in Format::all() {
        let Some(golden) = golden_file(format) else { continue };
        let block_len = format.ggml_type.block_len();
        let (bytes, weights) = blocks(&golden).swap_remove(0);
        // Three rows, and of small blocks so many that the last superblock is not full.
        let num_cols = if block_len == 256 { 2048 } else { 7 * 64 / block_len.max(4) * block_len / 2 };
        let num_cols = num_cols.next_multiple_of(block_len).min(weights.len() / 3 / block_len * block_len);
        let bytes = &bytes[..3 * format.row_bytes(num_cols)];
        for isa in Isa::available() {
            let x = activations(isa, 5, num_cols);
            for precision in [Precision::Exact, Precision::Int8] {
                let found = multiply(isa, Layout { format, num_cols, precision }, bytes, &x);
                for (i, found) in found.iter().enumerate() {
                    let (w, x) = (&weights[i / 5 * num_cols..][..num_cols], x.row(i % 5));
                    let (expected, bound) = dot_f64(w, x, precision);
                    let error = (f64::from(*found) - expected).abs();
                    let name = format.ggml_type;
                    assert!(error <= bound, "{name} {precision:?} {}: {error:e} > {bound:e}", isa.name());
                }
            }
        }
    }
}

/// The dot product and how far from it a kernel may be.
fn dot_f64(w: &[f32], x: &[f32], precision: Precision) -> (f64, f64) {
    let products = || w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
    // Each lane adds len / 16 products, each addition rounds to 2^-24 of what has come together; the integer path also
    // subtracts minimums, which are up to 128 / 1 of the weights: 1e-5 covers both with room.
    let rounding = 1e-5 * products().map(f64::abs).sum::<f64>();
    // A quantized activation is off by at most half a step of its group, whose largest value has 127 steps.
    let steps = w.chunks(16).zip(x.chunks(16)).map(|(w, x)| {
        let max = x.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        w.iter().map(|w| f64::from(w.abs() * max) / 254.0).sum::<f64>()
    });
    let quantizing = if precision == Precision::Int8 { steps.sum() } else { 0.0 };
    (products().sum(), rounding + 1.001 * quantizing)
}

#[test]
fn dot_products_do_not_depend_on_the_other_tokens() {
    for format in Format::all() {
        let Some(golden) = golden_file(format) else { continue };
        let (bytes, weights) = blocks(&golden).swap_remove(0);
        let num_cols = weights.len() / 3 / format.ggml_type.block_len() * format.ggml_type.block_len();
        let bytes = &bytes[..3 * format.row_bytes(num_cols)];
        for precision in [Precision::Exact, Precision::Int8] {
            let layout = Layout { format, num_cols, precision };
            let expected = multiply(Isa::available()[0], layout, bytes, &activations(Isa::available()[0], 7, num_cols));
            for isa in Isa::available() {
                for num_tokens in 1..=7 {
                    let found = multiply(isa, layout, bytes, &activations(isa, num_tokens, num_cols));
                    for (i, found) in found.iter().enumerate() {
                        let expected = expected[i / num_tokens * 7 + i % num_tokens];
                        assert_eq!(found.to_bits(), expected.to_bits(), "{} {precision:?}", format.ggml_type);
                    }
                }
            }
        }
    }
}

#[test]
fn activations_that_are_no_numbers_stay_that() {
    let format = Format::of(quant::GgmlType::Q8_0).expect("a type of weights");
    let num_cols = 64;
    // Scales of 1, weights of 1.
    let block = [&[0, 0x3c][..], &[1; 32]].concat();
    let bytes = block.repeat(num_cols / 32);
    for isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for precision in [Precision::Exact, Precision::Int8] {
                let mut x = activations(isa, 2, num_cols);
                x.floats_mut()[40] = bad;
                x.quantize(isa);
                let found = multiply(isa, Layout { format, num_cols, precision }, &bytes, &x);
                assert!(!found[0].is_finite() && found[1].is_finite(), "{bad} {precision:?} {}: {found:?}", isa.name());
            }
        }
    }
}

#[test]
fn unsupported_types_are_named_with_the_supported_ones() {
    let error = Format::of(quant::GgmlType::I16).expect_err("weights are no integers").to_string();
    assert!(error.contains("I16") && error.contains("Q4_K") && error.contains("BF16"), "{error}");
}
