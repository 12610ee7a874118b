//! Magic, version, counts, keys, alignment.

use gguf::{Builder, Gguf, Value};

use crate::{
    check,
    raw::{Raw, Tensor, head, with_tensors},
};

#[test]
fn both_versions_are_read() {
    for version in [2, 3] {
        let bytes = head(version, 0, 1).str("general.name").u32(8).str("x").0;
        let gguf = Gguf::from_bytes(bytes).unwrap();
        assert_eq!((gguf.version(), gguf.metadata().str("general.name").unwrap()), (version, Some("x")));
    }
}

#[test]
fn what_is_no_gguf_is_called_so() {
    check(Vec::new(), "not a GGUF file: it begins with []");
    check(b"GG".to_vec(), "it begins with [47, 47] instead of `GGUF`");
    check(b"PK\x03\x04 a zip file".to_vec(), "it begins with [50, 4b, 03, 04]");
    check(head(1, 0, 0).0, "GGUF version 1 is not supported");
    check(head(3_u32.swap_bytes(), 0, 0).0, "version 50331648 is not supported (2 and 3 are); a big-endian file");
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let whole = Builder::new()
        .value("general.architecture", Value::String("llama".to_owned()))
        .value("n", Value::Uint(7))
        .tensor_f32("a", &[4, 2], &[0.5; 8])
        .tensor_f32("b", &[4], &[0.5; 4])
        .build();
    assert!(Gguf::from_bytes(whole.clone()).is_ok());
    // The last 16 bytes are padding.
    for len in 4..whole.len() - 16 {
        check(whole[..len].to_vec(), "the file is truncated or corrupt");
    }
}

#[test]
fn counts_that_cannot_be_are_refused_before_anything_is_read() {
    check(head(3, u64::MAX, 0).0, "`tensor_count` needs 18446744073709551615 bytes at offset 16, but only 8 are left");
    check(head(3, 0, u64::MAX).0, "`metadata_kv_count` needs");
    check(head(3, 1 << 40, 0).0, "`tensor_count` needs");
    check(head(3, 0, 2).bytes(&[0; 25]).0, "`metadata_kv_count` needs 26 bytes at offset 24, but only 25 are left");
    check(head(3, 0, (1 << 16) + 1).bytes(&vec![0; 1 << 20]).0, "`metadata_kv_count` is 65537; expected at most 65536");
    check(head(3, (1 << 18) + 1, 0).bytes(&vec![0; 9 << 20]).0, "`tensor_count` is 262145; expected at most 262144");
}

#[test]
fn keys_are_named_by_their_number_until_they_are_read() {
    check(head(3, 0, 1).u64(1 << 60).bytes(&[0; 16]).0, "`key of metadata value 0` needs 1152921504606846976 bytes");
    let first = Raw::new().str("a").u32(7).bytes(&[1]);
    check(head(3, 0, 2).raw(&first).u64(99).bytes(&[0; 9]).0, "`key of metadata value 1` needs 99 bytes");
    check(head(3, 0, 2).raw(&first).raw(&first).0, "`a` is given twice; expected one value per metadata key");
}

#[test]
fn strings_have_a_limit() {
    let limit: usize = 64 << 20;
    let long = vec![b'x'; limit + 1];
    check(
        head(3, 0, 1).u64(long.len() as u64).bytes(&long).0,
        "is a string of 67108865 bytes; expected at most 67108864",
    );
    check(head(3, 0, 1).u64(limit as u64).bytes(&long[1..]).u32(7).bytes(&[1]).0, "ok");
}

#[test]
fn the_alignment_is_a_power_of_two_and_moves_the_data() {
    let aligned = |alignment: u32| {
        let raw = head(3, 1, 1).str("general.alignment").u32(4).u32(alignment);
        raw.str("a").u32(1).u64(8).u32(0).u64(0).pad(64).bytes(&[7; 32]).0
    };
    let gguf = Gguf::from_bytes(aligned(64)).unwrap();
    assert_eq!(gguf.data(gguf.tensor("a").unwrap()), [7; 32]);
    for (wrong, text) in [(0, "is 0"), (24, "is 24"), (1 << 21, "is 2097152")] {
        check(aligned(wrong), &format!("`general.alignment` {text}; expected a power of two up to 1048576"));
    }
    let text = head(3, 0, 1).str("general.alignment").u32(8).str("32").0;
    check(text, "`general.alignment` is a string; expected a non-negative integer");
    let default = Gguf::from_bytes(with_tensors(&[Tensor::default()], 32)).unwrap();
    assert_eq!(default.data(&default.tensors()[0]), [7; 32]);
}

#[test]
fn a_file_may_hold_nothing_but_metadata() {
    check(head(3, 0, 0).0, "ok");
}
