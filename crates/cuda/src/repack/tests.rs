//! Every type has a layout, of the size that the table in docs/types.md promises.

use quant::GgmlType;

use super::{FORMATS, LayoutError, PlaneFormat, PlaneLayout};

/// Weights of types that take more room than in the file, in 16ths of a bit.
const GROWN: &[(GgmlType, usize)] = &[
    (GgmlType::Q3_K, 57),
    (GgmlType::IQ4_XS, 69),
    (GgmlType::TQ1_0, 33),
    (GgmlType::IQ1_S, 29),
    (GgmlType::IQ1_M, 33),
    (GgmlType::IQ2_XXS, 37),
    (GgmlType::IQ2_XS, 43),
    (GgmlType::IQ2_S, 45),
    (GgmlType::IQ3_XXS, 53),
    (GgmlType::IQ3_S, 57),
    (GgmlType::F32, 256),
];

#[test]
fn planes_are_about_as_small_as_the_file() {
    let types = FORMATS.iter().map(|spec| spec.ggml_type).chain([GgmlType::BF16, GgmlType::F32]);
    for ggml_type in types {
        let layout = PlaneLayout::new(ggml_type, 4096, 4096).unwrap();
        let grown = GROWN.iter().find(|(grown, _)| *grown == ggml_type);
        let expected = match grown {
            Some((_, sixteenths)) => 4096 * 4096 * sixteenths / 128,
            None => 4096 * layout.source_row_bytes(),
        };
        assert_eq!(layout.num_bytes, expected, "{ggml_type}");
        assert_eq!(layout.read_bytes(), expected, "{ggml_type}");
        let file_bytes = 4096 * layout.source_row_bytes();
        assert!(
            expected * 10 <= file_bytes * 13,
            "{ggml_type}: {expected} bytes on the device, {file_bytes} in the file"
        );
    }
}

#[test]
fn slots_are_whole_blocks_and_copies() {
    for format in PlaneFormat::all() {
        let planes = format.planes();
        assert!(planes.span == 1 || format.block_len() == 256, "{format:?}: a slot of two chunks of 128");
        assert_eq!(PlaneFormat::of(format.ggml_type()), Some(format));
        for bytes in [planes.low, planes.high, planes.scale, planes.super_scale] {
            assert!(bytes.is_multiple_of(16), "{format:?}: {bytes}");
        }
    }
}

#[test]
fn shapes_that_no_kernel_takes_are_refused() {
    let shape = |rows, cols| PlaneLayout::new(GgmlType::Q4_K, rows, cols);
    assert!(matches!(shape(0, 256), Err(LayoutError::Shape { .. })));
    assert!(matches!(shape(16, 0), Err(LayoutError::Shape { .. })));
    assert!(matches!(shape(16, 128), Err(LayoutError::Shape { block_len: 256, .. })));
    assert!(matches!(shape(usize::MAX, 256), Err(LayoutError::Shape { .. })));
    let message = PlaneLayout::new(GgmlType::I32, 16, 256).unwrap_err().to_string();
    assert!(message.contains("I32") && message.contains("IQ4_XS") && message.contains("BF16"), "{message}");
}
