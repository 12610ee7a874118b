//! The kernels as a compiler sees them. Needs NVRTC but no GPU; without it these tests say `skipped` and pass, unless
//! `LLCUDA_REQUIRE_CLIENTS=1`.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    Cache, Compiled, Compiler, Job, KernelResources, Nvrtc, SOURCES, Source, Target, Worker, all_sources, compile_job,
};

/// Shared memory of a block on the T4, in bytes.
const T4_SHARED_BYTES: u32 = 64 * 1024;

/// Something to write and read.
pub(super) fn example() -> Compiled {
    let target = Target::Cubin(75);
    Compiled {
        file: SOURCES[0].file.to_owned(),
        target,
        key: SOURCES[0].key(target),
        nvrtc: (12, 9),
        compile_ms: 57,
        kernels: vec![KernelResources { name: "a".to_owned(), registers: 32, ..KernelResources::default() }],
        image: vec![0x7f, b'E', b'L', b'F', 0],
    }
}

/// NVRTC of `LLCUDA_NVRTC_DIR`, or of the environment that `tests/setup` makes.
fn nvrtc() -> Option<Nvrtc> {
    let found = match std::env::var_os("LLCUDA_NVRTC_DIR") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => test_environment(),
    };
    if let Some(folder) = found {
        return Some(Nvrtc::in_folder(&folder).expect("a compiler that loads"));
    }
    let required = std::env::var_os("LLCUDA_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
    assert!(!required, "no NVRTC: run `tests/setup`, or set LLCUDA_NVRTC_DIR");
    println!("skipped: no NVRTC (`tests/setup` installs it)");
    None
}

fn test_environment() -> Option<PathBuf> {
    // Written last: before that the libraries may be half copied.
    if !target_folder().join("test-env/installed").exists() {
        return None;
    }
    let versions = std::fs::read_dir(target_folder().join("test-env/lib")).ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/nvidia/cuda_nvrtc/lib")));
    folders.into_iter().find(|folder| folder.is_dir())
}

fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

/// This test binary, running [`works_for_another_process`] alone.
fn own_worker() -> Option<Worker> {
    let args = ["--exact", "kernels::tests::works_for_another_process"].map(str::to_owned).to_vec();
    Some(Worker { program: std::env::current_exe().ok()?, args })
}

/// What the workers of [`all_compiled`] do; nothing when it is run as a test.
#[test]
fn works_for_another_process() {
    match std::env::var_os("LLCUDA_KERNEL_JOB") {
        Some(_) => compile_job().unwrap(),
        None => assert!(compile_job().unwrap_err().to_string().contains("LLCUDA_KERNEL_JOB is ``")),
    }
}

/// All kernels for the T4, the H100, and the T4's path on newer devices; compiled once for all tests.
fn all_compiled() -> Option<&'static [Compiled]> {
    static ALL: OnceLock<Option<Vec<Compiled>>> = OnceLock::new();
    let compile = || {
        let compiler = Compiler::new(nvrtc()?, Cache::at(target_folder().join("kernel-cache")), own_worker());
        let targets = [Target::Cubin(75), Target::Cubin(90), Target::Ptx(75)];
        let jobs: Vec<Job> =
            targets.iter().flat_map(|target| all_sources().map(|source| Job { source, target: *target })).collect();
        let built = compiler.build(&jobs).unwrap_or_else(|error| panic!("{error}"));
        Some(built.into_iter().map(|built| built.compiled).collect())
    };
    ALL.get_or_init(compile).as_deref()
}

#[test]
fn every_kernel_fits_the_t4_and_nothing_spills() {
    let Some(files) = all_compiled() else { return };
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| matches!(file.target, Target::Cubin(_))) {
        for kernel in &file.kernels {
            let KernelResources { name, registers, shared_bytes, stack_bytes, spill_bytes } = kernel;
            println!(
                "{:<20} {:<6} {name:<32} {registers:>3} registers {shared_bytes:>6} shared {stack_bytes:>4} stack \
                 {spill_bytes:>4} spilled",
                file.file,
                file.target.to_string()
            );
            if *spill_bytes > 0 {
                faults.push(format!("{}: {name} spills {spill_bytes} bytes on {}", file.file, file.target));
            }
            if file.target == Target::Cubin(75) && *shared_bytes > T4_SHARED_BYTES {
                faults.push(format!("{}: {name} takes {shared_bytes} bytes of shared memory", file.file));
            }
        }
    }
    assert!(faults.is_empty(), "no spills, and {T4_SHARED_BYTES} bytes of shared memory:\n  {}", faults.join("\n  "));
}

#[test]
fn kernels_have_names_of_their_own() {
    let Some(files) = all_compiled() else { return };
    let names_for = |target| {
        let files = files.iter().filter(|file| file.target == target);
        let mut names: Vec<&str> = files.flat_map(|file| file.kernels.iter().map(|k| k.name.as_str())).collect();
        names.sort_unstable();
        names
    };
    let names = names_for(Target::Cubin(75));
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two kernels of one name: {names:?}");
    assert_eq!(names, names_for(Target::Ptx(75)), "the log (left) and the PTX (right) name the same kernels");
}

#[test]
fn a_fault_in_a_kernel_is_told_with_its_place() {
    let Some(nvrtc) = nvrtc() else { return };
    let source = Source { file: "wrong.cu", text: "extern \"C\" __global__ void f() {\n    nothing();\n}\n" };
    let message = nvrtc.compile(&source, Target::Cubin(75)).unwrap_err().to_string();
    for part in ["kernels/wrong.cu", "sm_75", "wrong.cu(2)", "nothing"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let empty = Source { file: "empty.cu", text: "" };
    let message = nvrtc.compile(&empty, Target::Ptx(75)).unwrap_err().to_string();
    assert!(message.contains("no kernel"), "{message}");
}

#[test]
fn a_damaged_cache_is_compiled_again() {
    let Some(nvrtc) = nvrtc() else { return };
    let folder = tempfile::tempdir().unwrap();
    let compiler = Compiler::new(nvrtc, Cache::at(folder.path()), None);
    let job = Job { source: Source::named("quantize_act.cu").unwrap(), target: Target::Cubin(75) };
    let build = || compiler.build(&[job]).unwrap().remove(0);
    let first = build();
    assert!(!first.cached);
    let second = build();
    assert!(second.cached && second.compiled == first.compiled);
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let third = build();
    assert!(!third.cached);
    assert_eq!(third.compiled.image, first.compiled.image, "the compiler is deterministic");
    assert!(build().cached, "what was damaged is whole again");
}

#[test]
fn the_compiler_knows_what_a_device_takes() {
    let Some(nvrtc) = nvrtc() else { return };
    assert_eq!(nvrtc.target_for(75).unwrap(), Target::Cubin(75));
    assert_eq!(nvrtc.target_for(90).unwrap(), Target::Cubin(90));
    assert!(matches!(nvrtc.target_for(999).unwrap(), Target::Ptx(90..)), "a device newer than the compiler gets PTX");
    let message = nvrtc.target_for(30).unwrap_err().to_string();
    assert!(message.contains("LLCUDA_NVRTC_DIR"), "{message}");
}

#[test]
fn a_folder_without_a_compiler_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let message = Nvrtc::in_folder(folder.path()).err().unwrap();
    assert!(message.contains("holds no libnvrtc.so"), "{message}");
    std::fs::write(folder.path().join("libnvrtc.so.12"), "not a library").unwrap();
    let message = Nvrtc::in_folder(folder.path()).err().unwrap();
    assert!(message.contains("libnvrtc.so.12"), "{message}");
}
