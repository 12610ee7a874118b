//! `quantize`, `imatrix` and `merge-lora` that are killed, find no room or get broken input: nothing new stands under the
//! result's name, and inputs stay as they were.

use std::{
    fs,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use gguf::{GgmlType, Gguf, Metadata, NewTensor, Value, Writer, WriterOptions};

use super::{
    folders::{names_in, with_small_files},
    server::command,
};

const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

fn model() -> String {
    data("golden/llama3_gqa.f16.gguf")
}

/// What the command says in `folder`; `Err` is what it says where it fails.
fn run(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = command().args(args).current_dir(folder).output().expect("the binary starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A text that the model's tokenizer knows.
fn write_text(folder: &Path) {
    fs::write(folder.join("text"), "the quick brown fox jumps over the lazy dog. ".repeat(40)).expect("a file");
}

/// A matrix of 128 MiB, all zeros, in a file that takes no room on the disk.
fn write_large_model(path: &Path) {
    const SHAPE: [usize; 2] = [4096, 16384];
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", Value::String("llama".into()));
    let tensor = |shape: &[usize]| NewTensor {
        name: "blk.0.ffn_up.weight".into(),
        shape: shape.to_vec(),
        ggml_type: GgmlType::F16,
    };
    // The same header as that of a small file, but for the number of rows.
    let options = WriterOptions::default();
    let mut writer = Writer::create(path, &metadata, vec![tensor(&[SHAPE[0], 1])], &options).expect("a file");
    writer.write(&vec![0; 2 * SHAPE[0]]).expect("room");
    writer.finish().expect("a file");
    let bytes = fs::read(path).expect("a file");
    let shape = [SHAPE[0].to_le_bytes(), 1_usize.to_le_bytes()].concat();
    let shape_at = bytes.windows(16).position(|window| window == shape).expect("the shape");
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.write_all_at(&SHAPE[1].to_le_bytes(), shape_at as u64 + 8).expect("room");
    file.set_len((bytes.len() + 2 * SHAPE[0] * (SHAPE[1] - 1)) as u64).expect("a size");
}

#[test]
fn a_killed_quantization_leaves_no_result_and_a_second_one_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, part) = (folder.path().join("m.gguf"), folder.path().join("out.gguf.part"));
    write_large_model(&source);
    let args = ["quantize", "m.gguf", "out.gguf", "IQ3_S", "1"];
    let mut child = command().args(args).current_dir(folder.path()).stdout(Stdio::null()).spawn().expect("a process");
    // It has begun to write; there are 128 MiB before it.
    while !part.exists() {
        assert_eq!(child.try_wait().expect("our child"), None, "ended before it wrote");
        thread::yield_now();
    }
    child.kill().expect("our child");
    assert_eq!(child.wait().expect("our child").signal(), Some(SIGKILL));
    assert_eq!(names_in(folder.path()), ["m.gguf", "out.gguf.part"]);
    run(folder.path(), &["quantize", "m.gguf", "out.gguf", "F32"]).expect("what was left is taken over");
    assert_eq!(names_in(folder.path()), ["m.gguf", "out.gguf"]);
    assert!(Gguf::open(&folder.path().join("out.gguf")).is_ok());
}

#[test]
fn a_killed_imatrix_keeps_what_it_saved_before() {
    let folder = tempfile::tempdir().expect("a folder");
    write_text(folder.path());
    let saved = folder.path().join("out.gguf");
    let model = model();
    let args = ["imatrix", "-m", &model, "-f", "text", "-c", "16", "-b", "1", "--output-frequency", "1"];
    let mut child = command();
    child.args(args).args(["-o", "out.gguf"]).current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().expect("a process");
    while !saved.exists() {
        let ended = child.try_wait().expect("our child");
        assert!(ended.is_none_or(|status| status.success()), "{ended:?} before it saved");
        thread::yield_now();
    }
    // Whether or not it ended meanwhile: what stands under the name is whole.
    let _ = child.kill();
    child.wait().expect("our child");
    quantize::Imatrix::read(&saved).expect("a whole file");
}

#[test]
fn no_room_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    write_text(folder.path());
    let (model, base, adapter) =
        (model(), data("convert/Tiny-Llama-20K-Instruct.q8_0.gguf"), data("convert/adapter-plain"));
    let commands: [&[&str]; 4] = [
        &["quantize", &model, "out.gguf", "Q4_K_M"],
        &["merge-lora", &base, &adapter, "-o", "out.gguf"],
        &["imatrix", "-m", &model, "-f", "text", "-c", "16", "--chunks", "2", "-o", "out.gguf"],
        &["imatrix", "-m", &model, "-f", "text", "-c", "16", "--chunks", "2", "-o", "out", "--output-format", "dat"],
    ];
    for args in commands {
        let output = with_small_files(true, folder.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("no room for `out"), "{args:?}: {said}");
        assert_eq!(names_in(folder.path()), ["text"], "{args:?}");
    }
    let ended = with_small_files(false, folder.path(), commands[0]).status;
    assert_eq!(ended.signal(), Some(SIGXFSZ));
    assert_eq!(names_in(folder.path()), ["out.gguf.part", "text"]);
}

#[test]
fn inputs_and_files_that_exist_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, adapter) = (data("convert/Tiny-Llama-20K-Instruct.q8_0.gguf"), data("convert/adapter-plain"));
    fs::copy(&model, folder.path().join("m.gguf")).expect("a copy");
    fs::write(folder.path().join("other"), "mine").expect("a file");
    write_text(folder.path());
    let split = ["quantize", "m.gguf", "s.gguf", "COPY"];
    run(folder.path(), &split).expect("a copy");
    let names = names_in(folder.path());
    let contents =
        || -> Vec<Vec<u8>> { names.iter().map(|n| fs::read(folder.path().join(n)).expect("a file")).collect() };
    let before = contents();
    std::os::unix::fs::symlink("m.gguf", folder.path().join("link.gguf")).expect("a link");
    for (args, expected) in [
        (&["quantize", "--allow-requantize", "--overwrite", "m.gguf", "./m.gguf", "F16"][..], "is the input"),
        (&["quantize", "--allow-requantize", "--overwrite", "m.gguf", "link.gguf", "F16"], "is the input"),
        (&["quantize", "--allow-requantize", "m.gguf", "other", "F16"], "`other` exists"),
        (&["merge-lora", "m.gguf", &adapter, "-o", "other"], "`other` exists"),
        (&["merge-lora", "m.gguf", &adapter, "-o", "m.gguf", "--force"], "is an input"),
        (&["merge-lora", "m.gguf", &adapter, "-o", "link.gguf", "--force"], "is an input"),
        (&["imatrix", "-m", "m.gguf", "-f", "text", "-c", "16", "-o", "other"], "`other` exists"),
        (&["imatrix", "-m", "m.gguf", "-f", "text", "-c", "16", "-o", "m.gguf", "--overwrite"], "is an input"),
    ] {
        let error = run(folder.path(), args).expect_err("refused");
        assert!(error.contains(expected), "{args:?}: {error}");
        assert!(contents() == before, "{args:?}");
    }
}

/// A model whose matrices in layers are all of 32 columns, one weight of them not a number.
fn write_broken_model(path: &Path) {
    let source = Gguf::open(Path::new(&data("convert/Tiny-Llama-20K-Instruct.bf16.gguf"))).expect("a sound file");
    let name = "blk.1.ffn_up.weight";
    let bytes = source.data(source.tensor(name).expect("the tensor"));
    let mut file = fs::read(data("convert/Tiny-Llama-20K-Instruct.bf16.gguf")).expect("a file");
    let at = file.windows(bytes.len()).position(|window| window == bytes).expect("the tensor's data");
    // Row 2, column 5.
    file[at + 2 * (2 * 32 + 5)..][..2].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    fs::write(path, file).expect("a file");
}

#[test]
fn broken_weights_and_strange_importance_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    write_broken_model(&path("broken.gguf"));
    let error = run(folder.path(), &["quantize", "broken.gguf", "out.gguf", "Q8_0"]).expect_err("NaN");
    assert!(error.contains("`blk.1.ffn_up.weight`: weight 5 of row 2 is NaN"), "{error}");
    let adapter = data("convert/adapter-plain");
    let error = run(folder.path(), &["merge-lora", "broken.gguf", &adapter, "-o", "out.gguf"]).expect_err("NaN");
    assert!(error.contains("blk.1.ffn_up.weight") && error.contains("NaN"), "{error}");
    // An importance matrix of another model: other names, or the same with other sizes.
    let mut inputs = types::InputSums::default();
    inputs.tensor("blk.0.attn_q.weight", 48, 1).counts[0] = 1;
    let mut sums = quantize::Sums::new(1);
    sums.add(&inputs).expect("the first");
    sums.write(&path("sizes"), quantize::ImatrixFormat::Gguf, false).expect("a file");
    let mut inputs = types::InputSums::default();
    inputs.tensor("blk.77.attn_q.weight", 32, 1).counts[0] = 1;
    let mut sums = quantize::Sums::new(1);
    sums.add(&inputs).expect("the first");
    sums.write(&path("names"), quantize::ImatrixFormat::Dat, false).expect("a file");
    let model = data("convert/Tiny-Llama-20K-Instruct.bf16.gguf");
    for (imatrix, expected) in [("sizes", "has 48 columns, the model's tensor 32"), ("names", "none of its 1 entries")]
    {
        let args = ["quantize", "--imatrix", imatrix, &model, "out.gguf", "Q4_0"];
        let error = run(folder.path(), &args).expect_err("another model's");
        assert!(error.contains(expected) && error.contains("belongs to another"), "{error}");
    }
    assert_eq!(names_in(folder.path()), ["broken.gguf", "names", "sizes"]);
}
