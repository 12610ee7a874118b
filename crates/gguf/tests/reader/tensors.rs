//! The tensor list: names, dimensions, types, offsets.

use gguf::{GgmlType, Gguf};

use crate::{
    check,
    raw::{Raw, Tensor, head, with_tensors},
};

fn check_one(tensor: Tensor, num_data_bytes: usize, expect: &str) {
    check(with_tensors(&[tensor], num_data_bytes), expect);
}

#[test]
fn tensors_lie_where_their_offsets_say() {
    let second = Tensor { name: "b", dims: vec![32, 2, 1, 3], type_id: GgmlType::Q8_0.id(), offset: 64 };
    let mut bytes = with_tensors(&[Tensor::default(), second], 64 + 204);
    let last = bytes.len() - 1;
    bytes[last] = 9;
    let gguf = Gguf::from_bytes(bytes).unwrap();
    let b = gguf.tensor("b").unwrap();
    assert_eq!((b.ggml_type, b.num_bytes, b.num_weights()), (GgmlType::Q8_0, 204, 192));
    assert_eq!((gguf.data(b)[203], gguf.data(&gguf.tensors()[0]).len()), (9, 32));
    assert_eq!(gguf.weight_bytes(), 236);
    assert!(gguf.tensor("c").is_none());
}

#[test]
fn names_are_there_once_and_not_endless() {
    check_one(Tensor { name: "", ..Tensor::default() }, 32, "`name of tensor 0` is 0 bytes long; expected 1 to 1024");
    let long: &'static str = Box::leak("x".repeat(1025).into_boxed_str());
    check_one(Tensor { name: long, ..Tensor::default() }, 32, "`name of tensor 0` is 1025 bytes long");
    let twice = [Tensor::default(), Tensor { offset: 32, ..Tensor::default() }];
    check(with_tensors(&twice, 64), "`tensor a` is listed twice; expected one entry per tensor");
    let lying = head(3, 1, 0).u64(u64::MAX).bytes(&[0; 32]).0;
    check(lying, "`name of tensor 0` needs 18446744073709551615 bytes");
}

#[test]
fn dimensions_are_one_to_four_positive_and_whole_blocks() {
    let dims = |dims: &[u64]| Tensor { dims: dims.to_vec(), ..Tensor::default() };
    check_one(dims(&[]), 32, "`dimension count of a` is 0; expected 1 to 4");
    check_one(dims(&[1; 5]), 32, "`dimension count of a` is 5; expected 1 to 4");
    check_one(dims(&[1; 4]), 32, "ok");
    check_one(dims(&[0]), 32, "`dimensions of a` is [0]; expected positive");
    check_one(dims(&[8, 0]), 32, "`dimensions of a` is [8, 0]; expected positive");
    check_one(dims(&[u64::MAX, 2]), 32, "`dimensions of a`");
    check_one(dims(&[1 << 32, 1 << 32]), 32, "`dimensions of a`");
    check_one(dims(&[1 << 31, 1 << 30, 2]), 32, "`dimensions of a`");
    let q4_k = Tensor { dims: vec![255], type_id: GgmlType::Q4_K.id(), ..Tensor::default() };
    check_one(q4_k, 999, "`dimensions of a` is [255]; expected positive, the first a multiple of 256 (Q4_K blocks)");
    let many = head(3, 1, 0).str("a").u32(u32::MAX).bytes(&[0; 64]).0;
    check(many, "`dimension count of a` is 4294967295");
    check(head(3, 1, 0).str("a").u32(4).bytes(&[1; 30]).0, "`dimensions of a` needs 8 bytes");
}

#[test]
fn unknown_types_are_named() {
    let check = |id, what: &str| {
        check_one(
            Tensor { type_id: id, ..Tensor::default() },
            32,
            &format!("tensor `a` has type id {id}, which is {what}"),
        );
    };
    for id in [999, u32::MAX] {
        check(id, "not a known GGUF tensor type; known are F32, F16, Q4_0");
    }
    check(4, "Q4_2, which ggml no longer has: make the file again, the nearest type is Q4_0");
    check(37, "IQ4_NL_4_8, which ggml no longer has: make the file again, the nearest type is IQ4_NL");
}

#[test]
fn data_lies_in_the_file_aligned_and_apart() {
    let at = |name, offset| Tensor { name, offset, ..Tensor::default() };
    check_one(at("a", 0), 31, "`data of a` needs 32 bytes at offset 64, but only 31 are left");
    check_one(at("a", 32), 32, "`data of a` needs 32 bytes at offset 96, but only 0 are left");
    check_one(at("a", 1 << 62), 32, "`data of a` needs 32 bytes");
    check_one(at("a", u64::MAX - 31), 32, "`data of a` needs 32 bytes");
    check_one(at("a", 8), 99, "`offset of a` is 8; expected a multiple of the alignment 32");
    check(
        with_tensors(&[at("a", 0), at("b", 0)], 64),
        "`offset of b` is inside `a`; expected tensors that do not overlap",
    );
    let long = Tensor { dims: vec![16], ..at("a", 0) };
    check(with_tensors(&[at("b", 32), long], 96), "`offset of b` is inside `a`");
    // Out of order, with a gap: allowed.
    check(with_tensors(&[at("b", 64), at("a", 0)], 96), "ok");
}

#[test]
fn an_entry_cut_short_names_its_field() {
    let whole = Raw::new().str("a").u32(1).u64(8).u32(0).u64(0);
    let fields = [(8, "name of tensor 1"), (9, "dimension count of a"), (13, "dimensions of a")];
    let fields = fields.into_iter().chain([(21, "type of a"), (25, "offset of a")]);
    for (len, field) in fields {
        // The first entry is long enough for the count of two to be plausible.
        let first = Raw::new().str("a tensor with a name that is quite long").u32(1).u64(8).u32(0).u64(0);
        let bytes = head(3, 2, 0).raw(&first).bytes(&whole.0[..len]).0;
        check(bytes, &format!("`{field}` needs"));
    }
}

#[test]
fn rows_of_a_tensor_are_a_tensor() {
    let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let builder = gguf::Builder::new().tensor_f32("a", &[4, 3, 2], &values).tensor_f32("b", &[3], &values[..3]);
    let gguf = Gguf::from_bytes(builder.build()).unwrap();
    let floats = |tensor: &gguf::TensorInfo| {
        let chunks = gguf.data(tensor).as_chunks().0.iter();
        chunks.map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>()
    };
    let (a, b) = (gguf.tensor("a").unwrap(), gguf.tensor("b").unwrap());
    // The second row of the first matrix to the first of the second.
    let rows = a.rows(1..4).unwrap();
    assert_eq!((&rows.shape[..], rows.num_bytes, floats(&rows)), (&[4, 3][..], 48, values[4..16].to_vec()));
    let elements = b.rows(1..3).unwrap();
    assert_eq!((&elements.shape[..], floats(&elements)), (&[2][..], vec![1.0, 2.0]));
    assert!(a.rows(5..7).is_none() && a.rows(2..2).is_none() && b.rows(0..4).is_none());
    // Elements of a block have no bytes of their own.
    let mut blocks = b.clone();
    blocks.ggml_type = quant::GgmlType::Q8_0;
    assert!(blocks.rows(0..1).is_none());
}
