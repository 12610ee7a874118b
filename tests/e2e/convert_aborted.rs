//! A conversion that is killed or finds no room leaves nothing under the result's name, and inputs as they were.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use serde_json::{Map, Value, json};

use super::{
    folders::{names_in, with_small_files},
    server::command,
};

const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convert").join(name)
}

/// The tensors of a safetensors file, as its header has them.
fn header(path: &Path) -> Map<String, Value> {
    let bytes = fs::read(path).expect("a file");
    let (len, rest) = bytes.split_at(8);
    let len = u64::from_le_bytes(len.try_into().expect("eight bytes")) as usize;
    serde_json::from_slice(&rest[..len]).expect("a header")
}

/// A model of 100 MB whose weights are all zero, in a file that takes no room on the disk.
fn write_large_model(folder: &Path) {
    let source = data("Tiny-Llama-20K-Instruct");
    const ROWS: u64 = 1 << 18;
    let mut tensors = BTreeMap::new();
    for name in names_in(&source) {
        let path = source.join(&name);
        match name.as_str() {
            "model.safetensors.index.json" => {}
            "config.json" => {
                let text = fs::read_to_string(path).expect("a file");
                let size = "\"intermediate_size\": 64";
                assert!(text.contains(size));
                fs::write(folder.join(name), text.replace(size, &format!("\"intermediate_size\": {ROWS}")))
                    .expect("a file");
            }
            name if name.ends_with(".safetensors") => tensors.extend(header(&path)),
            name => drop(fs::copy(&path, folder.join(name)).expect("a copy")),
        }
    }
    tensors.remove("__metadata__");
    let (mut offset, mut entries) = (0, Map::new());
    for (name, tensor) in tensors {
        let mut shape: Vec<u64> = serde_json::from_value(tensor["shape"].clone()).expect("a shape");
        shape.iter_mut().filter(|d| name.contains(".mlp.") && **d == 64).for_each(|d| *d = ROWS);
        let end = offset + 2 * shape.iter().product::<u64>();
        entries.insert(name, json!({"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let header = Value::Object(entries).to_string();
    let file = fs::File::create(folder.join("model.safetensors")).expect("a file");
    file.write_all_at(&(header.len() as u64).to_le_bytes(), 0).expect("a length");
    file.write_all_at(header.as_bytes(), 8).expect("a header");
    file.set_len(8 + header.len() as u64 + offset).expect("a size");
}

#[test]
fn a_killed_conversion_leaves_no_result_and_a_second_one_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, part) = (folder.path().join("model"), folder.path().join("a.gguf.part"));
    fs::create_dir(&model).expect("a folder");
    write_large_model(&model);
    let modified = |name: &str| fs::metadata(model.join(name)).and_then(|m| m.modified()).expect("a time");
    let before: Vec<_> = names_in(&model).iter().map(|name| modified(name)).collect();
    let run = || {
        let mut command = command();
        command.args(["convert", "model", "-o", "a.gguf"]).current_dir(folder.path()).stdout(Stdio::null());
        command
    };
    let mut child = run().spawn().expect("the binary starts");
    // It has begun to write; there are 100 MB before it.
    while !part.exists() {
        assert_eq!(child.try_wait().expect("our child"), None, "ended before it wrote");
        thread::yield_now();
    }
    child.kill().expect("our child");
    assert_eq!(child.wait().expect("our child").signal(), Some(SIGKILL));
    assert_eq!(names_in(folder.path()), ["a.gguf.part", "model"]);
    let after: Vec<_> = names_in(&model).iter().map(|name| modified(name)).collect();
    assert_eq!(before, after);
    assert!(run().status().expect("the binary starts").success());
    assert_eq!(names_in(folder.path()), ["a.gguf", "model"]);
    let inspected = command().args(["inspect", "a.gguf"]).current_dir(folder.path()).output().expect("the binary");
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
}

#[test]
fn a_signal_for_too_large_a_file_leaves_no_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = data("tiny-gemma3").display().to_string();
    let args = ["convert", &model, "-o", "a.gguf"];
    assert_eq!(with_small_files(false, folder.path(), &args).status.signal(), Some(SIGXFSZ));
    assert_eq!(names_in(folder.path()), ["a.gguf.part"]);
    assert!(command().args(args).current_dir(folder.path()).status().expect("the binary").success());
    assert_eq!(names_in(folder.path()), ["a.gguf"]);
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, base) =
        (data("tiny-gemma3").display().to_string(), data("Tiny-Llama-20K-Instruct").display().to_string());
    let adapter = data("adapter-plain").display().to_string();
    let commands: [&[&str]; 4] = [
        &["convert", &model, "-o", "a.gguf"],
        &["convert", &model, "-o", "a.gguf", "--split-max-size", "9K"],
        &["merge-lora", &base, &adapter, "-o", "a.gguf"],
        &["convert", &model, "-o", "four-bit", "--to-nf4"],
    ];
    for args in commands {
        let output = with_small_files(true, folder.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{args:?}");
        assert!(said.contains("no room for") || said.contains("File too large"), "{args:?}: {said}");
        assert_eq!(names_in(folder.path()), [""; 0], "{args:?}");
    }
}

#[test]
fn a_failed_replacement_keeps_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("a folder");
    for name in names_in(&data("tiny-gemma3")) {
        fs::copy(data("tiny-gemma3").join(&name), model.join(&name)).expect("a copy");
    }
    let run = || {
        let args = ["convert", "model", "-o", "a.gguf", "--force"];
        command().args(args).current_dir(folder.path()).output().expect("the binary")
    };
    assert!(run().status.success());
    let old = fs::read(folder.path().join("a.gguf")).expect("the result");
    // The last weight of the last tensor becomes NaN.
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("weights");
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    fs::write(&path, bytes).expect("weights");
    let output = run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`model.norm.weight` has the weight NaN"), "{said}");
    assert_eq!(fs::read(folder.path().join("a.gguf")).expect("the old result"), old);
    assert_eq!(names_in(folder.path()), ["a.gguf", "model"]);
}
