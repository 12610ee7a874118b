//! NF4 and FP4 against bitsandbytes: codes, scales and weights to the bit.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;

use convert::{ConvertOptions, FourBit, FourBitOptions, OutType, Quantized, convert, to_four_bit};
use safetensors::SafeTensors;

/// The folder of golden blocks; `None` where the test data is not there and need not be.
fn golden() -> Option<PathBuf> {
    let root = std::env::var_os("LLCUDA_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let folder = root.join("golden/quants");
    if folder.join("index.json").is_file() {
        return Some(folder);
    }
    assert!(std::env::var_os("LLCUDA_REQUIRE_TEST_DATA").is_none_or(|v| v != "1"), "{} is missing", folder.display());
    eprintln!("skipped: {} is missing", folder.display());
    None
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// `nf4_b64_nested_48x256.safetensors`: kind, block size, whether scales are quantized, shape.
fn parse(name: &str) -> (FourBit, usize, bool, Vec<usize>) {
    let stem = name.strip_suffix(".safetensors").unwrap();
    let mut parts = stem.split('_');
    let four_bit = if parts.next() == Some("nf4") { FourBit::Nf4 } else { FourBit::Fp4 };
    let block_size = parts.next().unwrap()[1..].parse().unwrap();
    let shape = parts.next_back().unwrap().split('x').map(|d| d.parse().unwrap()).collect();
    (four_bit, block_size, parts.next() == Some("nested"), shape)
}

/// The same state; the mean of the magnitudes may differ in the last bits, as PyTorch adds in single precision and in an
/// order that depends on the machine.
fn assert_same_state(found: &[u8], expected: &[u8], name: &str) {
    let parse = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let (mut found, mut expected) = (parse(found), parse(expected));
    let offset = |state: &mut serde_json::Value| state.as_object_mut().unwrap().remove("nested_offset");
    if let (Some(a), Some(b)) = (offset(&mut found), offset(&mut expected)) {
        let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
        assert!((a - b).abs() <= 2e-7 * b, "{name}: mean {a} instead of {b}");
    }
    assert_eq!(found, expected, "{name}");
}

/// The golden files were made by bitsandbytes 0.49, which gives blocks of nothing but zeros the code 0, in NF4 the value
/// -1 times a magnitude that quantized scales make slightly more than nothing; since 0.50 they have the code of zero.
fn with_true_zeros(part: &str, expected: &[u8], source: &[f32], (four_bit, block_size): (FourBit, usize)) -> Vec<u8> {
    let mut expected = expected.to_vec();
    if part == "weight" && four_bit == FourBit::Nf4 {
        for (codes, block) in expected.chunks_mut(block_size / 2).zip(source.chunks(block_size)) {
            if block.iter().all(|x| *x == 0.0) {
                codes.fill(0x77);
            }
        }
    }
    expected
}

#[test]
fn weights_are_quantized_and_read_as_bitsandbytes_does() {
    let Some(folder) = golden() else { return };
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let cases = index["bitsandbytes"].as_array().unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        let name = case["file"].as_str().unwrap();
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (four_bit, block_size, nested, shape) = parse(name);
        let source = floats(file.tensor("src").unwrap().data());
        let quantized = Quantized::new(&source, four_bit, block_size, nested).unwrap();
        for (part, data) in quantized.into_parts("weight", &shape, "float32") {
            let expected = file.tensor(&part.name).unwrap_or_else(|_| panic!("{name}: no {}", part.name));
            assert_eq!(
                part.shape.iter().product::<usize>(),
                data.len() / part.dtype.num_bytes(),
                "{name}: {}",
                part.name
            );
            if part.name.contains("quant_state") {
                assert_same_state(&data, expected.data(), name);
            } else if part.name == "weight.nested_absmax" {
                let pairs = floats(&data).into_iter().zip(floats(expected.data()));
                pairs.for_each(|(a, b)| assert!((a - b).abs() <= 1e-6 * b.abs(), "{name}: {a} instead of {b}"));
            } else {
                let expected = with_true_zeros(&part.name, expected.data(), &source, (four_bit, block_size));
                assert!(data == expected, "{name}: {} differs", part.name);
            }
        }
        let found = convert::read_floats(&folder.join(name), "weight").unwrap();
        let expected = floats(file.tensor("values").unwrap().data());
        assert_eq!(found.len(), expected.len(), "{name}");
        let differs = found.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs, None, "{name}");
    }
}

/// A folder is quantized, converted back to GGUF, and holds what bitsandbytes would compute with.
#[test]
fn a_four_bit_folder_is_converted() {
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert/tiny-gemma3");
    for (four_bit, nested) in [(FourBit::Nf4, true), (FourBit::Fp4, false)] {
        let folder = tempfile::tempdir().unwrap();
        let (small, out) = (folder.path().join("small"), folder.path().join("out.gguf"));
        let options = FourBitOptions { four_bit, block_size: 64, nested };
        to_four_bit(&base, &small, &options).unwrap();
        assert!(to_four_bit(&base, &small, &options).is_err(), "the folder exists");
        assert!(to_four_bit(&small, &folder.path().join("smaller"), &options).is_err(), "it is quantized");
        let options = ConvertOptions { out_type: Some(OutType::F32), ..ConvertOptions::default() };
        convert(&small, &out, &options, &mut |_, _| {}).unwrap();
        let gguf = gguf::Gguf::open(&out).unwrap();
        for (name, source) in [
            ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
            ("token_embd.weight", "model.embed_tokens.weight"),
        ] {
            let found = floats(gguf.data(gguf.tensor(name).unwrap()));
            let stored = convert::read_floats(&small.join("model.safetensors"), source).unwrap();
            assert_eq!(found, stored, "{name}");
            let original = convert::read_floats(&base.join("model.safetensors"), source).unwrap();
            let error: f32 = found.iter().zip(&original).map(|(a, b)| (a - b).powi(2)).sum();
            let power: f32 = original.iter().map(|x| x * x).sum();
            assert!(error <= 0.02 * power, "{name}: {error} of {power}");
            assert_eq!(error == 0.0, name == "token_embd.weight", "{name}");
        }
    }
}
