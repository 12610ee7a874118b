//! Models of several files, and files that cannot be opened.

use std::{fs, io::Read, path::Path};

use gguf::{Builder, Gguf, Value};

/// One part of a split with one tensor of the same name as the file's number.
fn part(no: u64, count: u64, tensor: &str) -> Builder {
    Builder::new()
        .value("split.no", Value::Uint(no))
        .value("split.count", Value::Uint(count))
        .value("split.tensors.count", Value::Uint(count))
        .tensor_f32(tensor, &[2], &[no as f32; 2])
}

fn write(folder: &Path, name: &str, file: &Builder) {
    fs::write(folder.join(name), file.build()).expect("a file in a folder of the test");
}

fn check_open(folder: &Path, name: &str, expect: &str) {
    let message = Gguf::open(&folder.join(name)).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
}

#[test]
fn all_parts_are_opened_through_the_first() {
    let folder = tempfile::tempdir().unwrap();
    for no in 0..3 {
        let name = format!("m-{:05}-of-00003.gguf", no + 1);
        write(folder.path(), &name, &part(no, 3, &format!("t{no}")));
    }
    let gguf = Gguf::open(&folder.path().join("m-00001-of-00003.gguf")).unwrap();
    assert_eq!(gguf.tensors().len(), 3);
    for no in 0..3_u8 {
        let tensor = gguf.tensor(&format!("t{no}")).unwrap();
        assert_eq!(gguf.data(tensor)[..4], f32::from(no).to_le_bytes());
    }
    assert_eq!((gguf.weight_bytes(), gguf.metadata().uint("split.no").unwrap()), (24, Some(0)));
    check_open(
        folder.path(),
        "m-00002-of-00003.gguf",
        "`split.no` is 1; expected 0: give the first file, ...-00001-of-",
    );
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (first, second) = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf");
    write(path, first, &part(0, 2, "a"));
    check_open(path, first, "m-00002-of-00002.gguf`: No such file");
    write(path, second, &part(1, 2, "a"));
    check_open(path, first, "m-00002-of-00002.gguf`: `tensor a` is in two files of the split");
    write(path, second, &part(0, 2, "b"));
    check_open(path, first, "`split.no` is 0; expected 1, as the file's name says");
    write(path, second, &part(1, 3, "b"));
    check_open(path, first, "`split.count` is 3; expected 2, as the file's name says");
    write(path, second, &Builder::new());
    check_open(path, first, "metadata key `split.no` is missing");
    fs::write(path.join(second), b"no model").unwrap();
    check_open(path, first, "m-00002-of-00002.gguf`: not a GGUF file");
    write(path, second, &part(1, 2, "b").tensor_f32("c", &[1], &[0.0]));
    check_open(path, first, "`split.tensors.count` is 2; expected 3, the tensors in all files");
    write(path, second, &part(1, 2, "b"));
    check_open(path, first, "ok");
}

#[test]
fn the_count_and_the_name_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "m.gguf", &part(0, 2, "a"));
    check_open(folder.path(), "m.gguf", "`file name` is `m.gguf`; expected a name ending in `-00001-of-00002.gguf`");
    write(folder.path(), "m.gguf", &part(0, 10_000, "a"));
    check_open(folder.path(), "m.gguf", "`split.count` is 10000; expected at most 9999");
    write(folder.path(), "m.gguf", &Builder::new().value("split.count", Value::Int(-1)));
    check_open(folder.path(), "m.gguf", "`split.count` is a signed integer; expected a non-negative integer");
    write(folder.path(), "m.gguf", &part(0, 1, "a"));
    check_open(folder.path(), "m.gguf", "ok");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    check_open(folder.path(), "absent.gguf", "absent.gguf`: No such file");
    check_open(folder.path(), ".", "cannot read `");
    fs::write(folder.path().join("empty.gguf"), b"").unwrap();
    check_open(folder.path(), "empty.gguf", "not a GGUF file: it begins with []");
}

#[test]
fn headers_are_read_without_the_data() {
    // A header of some MiB, and data that nobody reads.
    let large = part(0, 2, "a").value("words", Value::String("x".repeat(3 << 20))).build();
    let (large_bytes, small) = (large.len() as u64 + (1 << 40), part(1, 2, "b").build());
    let endless = || large.chain(std::io::repeat(0));
    let mut counted = endless().take(64 << 20);
    let mut other = &small[..];
    let gguf = Gguf::read_headers(&mut [(&mut counted, large_bytes), (&mut other, small.len() as u64)]);
    let gguf = gguf.unwrap_or_else(|error| panic!("{error}"));
    assert!(counted.limit() > 59 << 20, "{} of 64 MiB left", counted.limit() >> 20);
    let names: Vec<_> = gguf.tensors().iter().map(|t| (t.name.as_str(), gguf.file_of(t))).collect();
    assert_eq!(names, [("a", 0), ("b", 1)]);
    assert!(gguf.data(&gguf.tensors()[0]).is_empty());
    let fault = |bytes: &[u8], file_bytes: u64| {
        let mut reader = bytes;
        Gguf::read_headers(&mut [(&mut reader, file_bytes)]).map_or_else(|error| error.to_string(), |_| "ok".to_owned())
    };
    assert!(fault(&small[..40], 1 << 30).contains("truncated"), "what ends early");
    assert!(fault(&small, small.len() as u64 - 28).contains("truncated"), "no room for the data");
    assert!(fault(&small, small.len() as u64).contains("split.tensors.count"), "a part alone");
}
