//! The tools of guest languages, and the host that builds plugins by them.

use crate::{
    home::{CommandOutput, Home},
    installed::cache,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Runs a tool of a language to its end.
///
/// # Errors
/// What it said, if that was no good one.
pub fn done(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{shown} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{shown} can't be started: {error}")),
    }
}

/// The host's command line, which compiles into the cache that the tests share.
///
/// # Panics
/// When the host can't be started.
pub fn run(home: &Home, arguments: &[&str]) -> CommandOutput {
    let mut command = home.command(arguments);
    command
        .env("XDG_CACHE_HOME", cache())
        .output()
        .expect("the host was built")
        .into()
}

/// Copies the files of a folder, and not the folders in it.
///
/// # Panics
/// When one of the folders is not there.
pub fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).expect("it is a folder").flatten() {
        if file.path().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).expect("there is room");
        }
    }
}
