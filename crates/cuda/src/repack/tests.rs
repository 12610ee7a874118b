//! What is packed reads back as the file's own decoder reads it, for every format and odd shapes.

use quant::{Format, GgmlType, Isa, f32_to_f16};

use super::{LayoutError, PlaneLayout, pack, value};

const TYPES: [GgmlType; 9] = [
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
    GgmlType::Q8_0,
    GgmlType::Q4_0,
    GgmlType::Q5_0,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::F32,
];

/// Bytes that look random, with every f16 scale a small finite number.
fn blocks(ggml_type: GgmlType, num_bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut bytes: Vec<u8> = (0..num_bytes).map(|_| next()).collect();
    let scales: &[usize] = match ggml_type {
        GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
        GgmlType::Q6_K => &[208],
        GgmlType::F16 | GgmlType::BF16 | GgmlType::F32 => return floats(ggml_type, num_bytes),
        _ => &[0],
    };
    for block in bytes.chunks_exact_mut(ggml_type.block_bytes()) {
        for &at in scales {
            let d = f32_to_f16(0.001 + f32::from(block[at]) / 4096.0);
            block[at..at + 2].copy_from_slice(&d.to_le_bytes());
        }
    }
    bytes
}

fn floats(ggml_type: GgmlType, num_bytes: usize) -> Vec<u8> {
    let values = (0..num_bytes / ggml_type.block_bytes()).map(|i| (i % 1009) as f32 / 64.0 - 7.5);
    match ggml_type {
        GgmlType::F32 => values.flat_map(f32::to_le_bytes).collect(),
        GgmlType::F16 => values.flat_map(|x| f32_to_f16(x).to_le_bytes()).collect(),
        _ => values.flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect(),
    }
}

#[test]
fn planes_read_back_as_the_file_decodes() {
    for ggml_type in TYPES {
        let unit = match ggml_type.block_len() {
            256 => 256,
            1 => 4,
            _ => 32,
        };
        for (rows, cols) in [(1, unit), (7, 3 * unit), (16, 5 * unit), (33, 9 * unit)] {
            let layout = PlaneLayout::new(ggml_type, rows, cols).unwrap();
            let source = blocks(ggml_type, rows * layout.source_row_bytes());
            let planes = pack(&layout, &source);
            let mut expected = vec![0.0; cols];
            for (row, bytes) in source.chunks_exact(layout.source_row_bytes()).enumerate() {
                Format::of(ggml_type).unwrap().decode_row(Isa::detect(), bytes, &mut expected);
                for (col, &expected) in expected.iter().enumerate() {
                    let found = value(&layout, &planes, row, col);
                    assert!(
                        (found - expected).abs() <= 1e-6 * expected.abs(),
                        "{ggml_type} {rows}x{cols} at {row}, {col}: {found}, the file says {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn planes_are_as_small_as_the_file() {
    for ggml_type in TYPES {
        let layout = PlaneLayout::new(ggml_type, 4096, 4096).unwrap();
        let file = 4096 * layout.source_row_bytes();
        let expected = if ggml_type == GgmlType::F32 { file / 2 } else { file };
        assert_eq!(layout.num_bytes, expected, "{ggml_type}");
        assert_eq!(layout.read_bytes(), expected, "{ggml_type}");
    }
}

#[test]
fn shapes_that_no_kernel_takes_are_refused() {
    let shape = |rows, cols| PlaneLayout::new(GgmlType::Q4_K, rows, cols);
    assert!(matches!(shape(0, 256), Err(LayoutError::Shape { .. })));
    assert!(matches!(shape(16, 0), Err(LayoutError::Shape { .. })));
    assert!(matches!(shape(16, 128), Err(LayoutError::Shape { block_len: 256, .. })));
    assert!(matches!(shape(usize::MAX, 256), Err(LayoutError::Shape { .. })));
    assert_eq!(PlaneLayout::new(GgmlType::IQ2_S, 16, 256), Err(LayoutError::Type(GgmlType::IQ2_S)));
}
