//! Files opened in every way, and weights that are no numbers.

use gguf::{Builder, GgmlType, Gguf, OpenOptions};

#[test]
fn a_file_is_the_same_however_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let data: Vec<f32> = (0..100_000_u32).map(|i| i as f32).collect();
    std::fs::write(&path, Builder::new().tensor_f32("a", &[1000, 100], &data).build()).unwrap();
    let expected: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    for (copy, lock) in [(false, false), (true, false), (false, true), (true, true)] {
        let gguf = Gguf::open_with(&path, OpenOptions { copy, lock }).unwrap();
        assert_eq!(gguf.data(gguf.tensor("a").unwrap()), expected, "copy {copy}, lock {lock}");
        // Whether 400 KB may be locked depends on the system's limits.
        assert!(lock || !gguf.is_locked());
    }
    for copy in [false, true] {
        std::fs::write(&path, b"").unwrap();
        let error = Gguf::open_with(&path, OpenOptions { copy, lock: false }).err().unwrap().to_string();
        assert!(error.contains("not a GGUF file"), "{error}");
    }
}

fn q8_0(scales: &[u16]) -> Vec<u8> {
    scales.iter().flat_map(|scale| scale.to_le_bytes().into_iter().chain([1; 32])).collect()
}

#[test]
fn the_first_bad_weight_is_named_whatever_the_number_of_threads() {
    const ONE: u16 = 0x3c00;
    const INFINITE: u16 = 0x7c00;
    let sound = Builder::new().tensor("a", &[64, 2], GgmlType::Q8_0, q8_0(&[ONE; 4])).tensor_f32("n", &[3], &[1.0; 3]);
    let gguf = Gguf::from_bytes(sound.build()).unwrap();
    assert_eq!(gguf.find_bad_weight(2, |_| true, |_| ()), None);
    let bad = Builder::new()
        .tensor("a", &[64, 1, 3], GgmlType::Q8_0, q8_0(&[ONE, ONE, ONE, ONE, ONE, INFINITE]))
        .tensor_f32("n", &[3], &[1.0, f32::NAN, 1.0]);
    let gguf = Gguf::from_bytes(bad.build()).unwrap();
    for num_threads in [1, 2, 9] {
        let bad = gguf.find_bad_weight(num_threads, |_| true, |_| ()).unwrap();
        assert_eq!((bad.tensor.as_str(), bad.row, bad.column, bad.value), ("a", 2, 32, f32::INFINITY));
        assert!(bad.to_string().contains("`a` (Q8_0) holds inf at row 2, column 32"), "{bad}");
        let vector = gguf.find_bad_weight(num_threads, |tensor| tensor.shape.len() == 1, |_| ()).unwrap();
        assert_eq!((vector.tensor.as_str(), vector.row, vector.column), ("n", 0, 1));
        assert!(vector.value.is_nan());
    }
}

#[test]
fn rows_longer_than_the_buffer_are_decoded_in_pieces() {
    let mut data = vec![1.0_f32; (1 << 20) + 5];
    let at = data.len() - 2;
    data[at] = f32::NEG_INFINITY;
    let gguf = Gguf::from_bytes(Builder::new().tensor_f32("a", &[data.len()], &data).build()).unwrap();
    assert_eq!(gguf.find_bad_weight(1, |_| true, |_| ()).unwrap().column, at);
}
