//! What is written reads back the same, in one file or several, and a failure leaves nothing behind.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

use gguf::{
    Array, GgmlType, Gguf, Metadata, NewTensor, Split, Strings, Value, ValueType, WriteError, Writer, WriterOptions,
};

fn metadata() -> Metadata {
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", Value::String("llama".to_owned()));
    metadata.insert("llama.block_count", Value::Uint(2));
    metadata.insert("big", Value::Uint(1 << 40));
    metadata.insert("eps", Value::Float(1e-5_f32.into()));
    metadata.insert_as("byte", Value::Uint(200), ValueType::U8);
    metadata.insert_as("too big for a byte", Value::Int(-200), ValueType::I8);
    metadata.insert_as("charsmap", Value::Array(Array::Uint(vec![1, 255])), ValueType::U8);
    metadata.insert("types", Value::Array(Array::Int(vec![1, -1])));
    metadata.insert("none", Value::Array(Array::String(Strings::default())));
    metadata
}

fn tensors() -> Vec<(NewTensor, Vec<u8>)> {
    let tensor = |name: &str, shape: &[usize], ggml_type, num_bytes: usize| {
        let data = (0..num_bytes).map(|i| (i * 7 + name.len()) as u8).collect();
        (NewTensor { name: name.to_owned(), shape: shape.to_vec(), ggml_type }, data)
    };
    vec![
        tensor("a", &[3, 2], GgmlType::F32, 24),
        tensor("bcd", &[64], GgmlType::Q8_0, 68),
        tensor("large", &[50], GgmlType::F16, 100),
    ]
}

fn create(path: &Path, options: &WriterOptions) -> Result<Writer, WriteError> {
    Writer::create(path, &metadata(), tensors().into_iter().map(|t| t.0).collect(), options)
}

fn write_all(mut writer: Writer) -> Result<Vec<std::path::PathBuf>, WriteError> {
    for (tensor, data) in &tensors() {
        writer.expect(&tensor.name)?;
        data.chunks(17).try_for_each(|piece| writer.write(piece))?;
    }
    writer.finish()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn check(path: &Path) -> Gguf {
    let gguf = Gguf::open(path).unwrap();
    for (key, value) in metadata().iter() {
        assert_eq!(gguf.metadata().get(key), Some(value), "{key}");
        assert_eq!(gguf.metadata().value_type(key), metadata().value_type(key), "{key}");
    }
    for (tensor, data) in tensors() {
        let found = gguf.tensor(&tensor.name).unwrap();
        assert_eq!((&found.shape, found.ggml_type), (&tensor.shape, tensor.ggml_type));
        assert_eq!(gguf.data(found), data, "{}", tensor.name);
    }
    gguf
}

#[test]
fn a_file_reads_back_with_its_value_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    assert_eq!(write_all(create(&path, &WriterOptions::default()).unwrap()).unwrap(), [path.as_path()]);
    let gguf = check(&path);
    assert_eq!(names(folder.path()), ["m.gguf"]);
    let types = ["llama.block_count", "big", "eps", "byte", "too big for a byte", "charsmap", "types"]
        .map(|key| gguf.metadata().value_type(key).unwrap());
    use ValueType::{F32, I32, U8, U32, U64};
    assert_eq!(types, [U32, U64, F32, U8, I32, U8, I32]);
}

#[test]
fn a_split_opens_by_its_first_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = WriterOptions { split: Split::MaxBytes(95), ..WriterOptions::default() };
    let paths = write_all(create(&folder.path().join("m.gguf"), &options).unwrap()).unwrap();
    assert_eq!(names(folder.path()), ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    let gguf = check(&paths[0]);
    let tensor_counts = gguf.metadata().get("split.tensors.count");
    assert_eq!((tensor_counts, gguf.metadata().value_type("split.no")), (Some(&Value::Int(3)), Some(ValueType::U16)));
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let mut writer = create(&path, &WriterOptions::default()).unwrap();
    writer.write(&[0; 24]).unwrap();
    assert_eq!(names(folder.path()), ["m.gguf.part"]);
    let busy = create(&path, &WriterOptions::default()).map(drop).unwrap_err();
    assert!(matches!(busy, WriteError::Busy { .. }), "{busy}");
    let incomplete = writer.finish().unwrap_err();
    assert_eq!(incomplete.to_string(), "`bcd` has 0 bytes of data instead of 68");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn wrong_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(&folder.path().join("m.gguf"), &WriterOptions::default()).unwrap();
    let order = writer.write_tensor("bcd", &[0; 68]).unwrap_err();
    assert_eq!(order.to_string(), "data of `bcd` where a was announced");
    let size = writer.write_tensor("a", &[0; 25]).unwrap_err();
    assert_eq!(size.to_string(), "`a` has 25 bytes of data instead of 24");
    let shape = NewTensor { name: "t".to_owned(), shape: vec![33], ggml_type: GgmlType::Q8_0 };
    let blocks = Writer::create(&folder.path().join("x"), &metadata(), vec![shape.clone()], &WriterOptions::default());
    assert!(blocks.map(drop).unwrap_err().to_string().contains("[33]; expected rows of whole Q8_0 blocks of 32"));
    let good = NewTensor { shape: vec![32], ..shape };
    let twice = vec![good.clone(), good];
    assert!(Writer::create(&folder.path().join("x"), &metadata(), twice, &WriterOptions::default()).is_err());
}

#[test]
fn an_existing_file_is_replaced_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, "old").unwrap();
    let exists = create(&path, &WriterOptions::default()).map(drop).unwrap_err();
    assert!(matches!(exists, WriteError::Exists { .. }), "{exists}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let overwrite = WriterOptions { overwrite: true, ..WriterOptions::default() };
    write_all(create(&path, &overwrite).unwrap()).unwrap();
    check(&path);
}

#[test]
fn no_room_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let huge = NewTensor { name: "t".to_owned(), shape: vec![1 << 58], ggml_type: GgmlType::F32 };
    let path = folder.path().join("m.gguf");
    let error = Writer::create(&path, &metadata(), vec![huge], &WriterOptions::default()).map(drop).unwrap_err();
    assert!(matches!(error, WriteError::Full { .. }), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    // `/dev/full` takes no byte; the rename never happens.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("m.gguf.part")).unwrap();
    let error = create(&folder.path().join("m.gguf"), &WriterOptions::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("m.gguf.part"), "{error}");
    assert!(names(folder.path()).is_empty());
}
