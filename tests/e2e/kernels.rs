//! `llcuda kernels`, with the NVRTC that `tests/setup` installs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::server::command;

fn target_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// The folder of NVRTC in the tests' environment.
fn nvrtc_folder() -> Option<PathBuf> {
    let environment = target_folder().join("test-env");
    let versions =
        environment.join("installed").exists().then(|| std::fs::read_dir(environment.join("lib")).ok())??;
    let mut folders =
        versions.map(|entry| entry.expect("a readable folder").path().join("site-packages/nvidia/cuda_nvrtc/lib"));
    folders.find(|folder| folder.is_dir())
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_pack_holds_every_kernel() {
    let Some(nvrtc) = nvrtc_folder() else {
        assert!(std::env::var_os("LLCUDA_REQUIRE_CLIENTS").is_none(), "no NVRTC: run `tests/setup`");
        println!("skipped: no NVRTC (`tests/setup` installs it)");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pack = folder.path().join("a.kernels");
    let kernels = |args: &[&str]| -> Command {
        let mut command = command();
        // The cache of the cuda crate's tests, which compile the same.
        command.arg("kernels").args(args).env("LLCUDA_CACHE_DIR", target_folder().join("kernel-cache"));
        command.env("LLCUDA_NVRTC_DIR", &nvrtc);
        command
    };
    let pack = pack.to_str().expect("UTF-8");
    let built = text(kernels(&["build", "--arch", "sm_75", "-o", pack]).output().expect("the binary starts"));
    assert!(built.contains("files for sm_75"), "{built}");
    let listed = text(kernels(&["list", "--pack", pack]).output().expect("the binary starts"));
    for word in ["quantize_act_f32", "sm_75", "registers", "KiB"] {
        assert!(listed.contains(word), "`{word}` is not in\n{listed}");
    }
    std::fs::write(pack, "no pack").expect("the file is written");
    let output = kernels(&["list", "--pack", pack]).output().expect("the binary starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("this is no pack"), "{message}");
}

#[test]
fn without_a_compiler_the_error_says_what_to_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output =
        command().args(["kernels", "list"]).env("LLCUDA_NVRTC_DIR", folder.path()).output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("LLCUDA_NVRTC_DIR"), "{message}");
    let output = command().args(["kernels", "list", "--arch", "sm_70"]).output().expect("it starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("`sm_70` is no target"), "{message}");
}
