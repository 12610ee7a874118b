//! The kernels' own code for every type, compiled for the host: packing and decoding without a GPU. Needs the sources and a C++ compiler
//! (`c++`) that knows halves; without them it says `skipped` and passes.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use cuda::repack::{PlaneFormat, PlaneLayout};
use quant::{Format, Isa};

use crate::{
    support::{Random, assert_close},
    weights::source_bytes,
};

const ROWS: usize = 19;

fn formats() -> impl Iterator<Item = PlaneFormat> {
    PlaneFormat::all().filter(|format| !format.is_half())
}

/// Compiles the program in `folder`; `None` where that is not possible.
fn compile(folder: &Path) -> Option<()> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels");
    for part in ["include", "formats"] {
        for entry in std::fs::read_dir(kernels.join(part)).ok()? {
            let path = entry.expect("a readable folder").path();
            std::fs::copy(&path, folder.join(path.file_name().expect("a file"))).expect("a copy");
        }
    }
    std::fs::write(folder.join("quant_words.cuh"), include_str!("decode/words.cuh")).expect("a writable folder");
    std::fs::write(folder.join("main.cpp"), include_str!("decode/main.cpp")).expect("a writable folder");
    let mut list = String::new();
    for format in formats() {
        writeln!(list, "#include \"{}.cuh\"", format.name()).expect("a string");
    }
    list.push_str("#define FORMATS(X)");
    for format in formats() {
        write!(list, " X(\"{}\", {})", format.name(), format.ggml_type()).expect("a string");
    }
    list.push('\n');
    std::fs::write(folder.join("formats.inc"), list).expect("a writable folder");
    let knows_halves = "int main() { _Float16 x = 1; return x != 1; }";
    std::fs::write(folder.join("probe.cpp"), knows_halves).expect("a writable folder");
    let build = |source: &str, out: &str| {
        let mut command = Command::new("c++");
        command.args(["-std=c++17", "-O1", "-w", "-o", out, source]).current_dir(folder);
        command.output().ok()
    };
    build("probe.cpp", "probe").filter(|done| done.status.success())?;
    let done = build("main.cpp", "decode")?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(())
}

fn decode(folder: &Path, format: PlaneFormat, shape: (usize, usize, usize), blocks: &[u8]) -> Vec<f32> {
    let (rows, cols, chunks) = shape;
    let numbers = [rows, cols, chunks].map(|n| n.to_string());
    let mut command = Command::new(folder.join("decode"));
    command.arg(format.name()).args(numbers).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(blocks).expect("the program reads");
    let done = child.wait_with_output().expect("the program ends");
    assert!(done.status.success(), "{format:?}: {}", done.status);
    done.stdout.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn what_kernels_read_is_what_the_file_says() {
    let folder = tempfile::tempdir().expect("a folder");
    if compile(folder.path()).is_none() {
        eprintln!("skipped: no kernel sources, or no C++ compiler that knows halves");
        return;
    }
    for format in formats() {
        let ggml_type = format.ggml_type();
        // The last chunk is not whole where blocks allow it.
        let cols = if format.block_len() == 256 { 768 } else { 320_usize.next_multiple_of(format.block_len()) };
        let layout = PlaneLayout::new(ggml_type, ROWS, cols).expect("a shape that kernels take");
        let blocks = source_bytes(ggml_type, ROWS * layout.source_row_bytes(), &mut Random::new(7));
        let mut expected = vec![0.0; ROWS * cols];
        for (row, out) in blocks.chunks_exact(layout.source_row_bytes()).zip(expected.chunks_exact_mut(cols)) {
            Format::of(ggml_type).expect("a format").decode_row(Isa::detect(), row, out);
        }
        let max = expected.iter().fold(0.0_f64, |max, &x| max.max(f64::from(x.abs())));
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        for chunks in [1, 2] {
            let found = decode(folder.path(), format, (ROWS, cols, chunks), &blocks);
            let (exact, halves) = found.split_at(ROWS * cols);
            assert_close(&format!("{format:?}, units of {chunks}"), exact, &expected, 1e-6 * max, 0.0);
            assert_close(&format!("{format:?} in f16, units of {chunks}"), halves, &expected, 1.5e-3 * max, 1e-3);
        }
    }
}
