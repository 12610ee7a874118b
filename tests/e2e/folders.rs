//! Folders in which commands are interrupted or find no room.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use super::server::command;

/// Runs the binary with files of at most 8 KiB. A process that makes a larger one gets a signal, which ends it unless it
/// is ignored; the system call then fails.
pub(super) fn with_small_files(ignore_signal: bool, folder: &Path, args: &[&str]) -> Output {
    let trap = if ignore_signal { "trap '' XFSZ; " } else { "" };
    let script = format!("{trap}ulimit -c 0; ulimit -f 16; exec \"$0\" \"$@\"");
    let binary = command().get_program().to_owned();
    let output = Command::new("sh").arg("-c").arg(script).arg(binary).args(args).current_dir(folder).output();
    output.expect("a shell")
}

/// The names of a folder's files, sorted.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
