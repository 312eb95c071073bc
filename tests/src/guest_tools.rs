//! The tools of guest languages, and the host that builds plugins by them.

use crate::{
    home::{CommandOutput, Home},
    installed::cache,
    not_tested,
};
use guest_build::target_directory;
use std::{
    fs,
    path::{Path, PathBuf},
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

/// How often a tool of a language is downloaded before it is given up.
const DOWNLOADS: usize = 3;

/// How many seconds that may take each time: the tools can wait for ever for a server that has stopped sending.
const DOWNLOAD_SECONDS: &str = "240";

/// Runs what downloads a tool of a language, again if it fails or hangs.
///
/// # Errors
/// What it said, if no time was a good one.
pub fn downloaded(command: &Command) -> Result<(), String> {
    let download = || {
        let mut limited = Command::new("timeout");
        limited
            .args(["--kill-after=5", DOWNLOAD_SECONDS])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        done(&mut limited)
    };
    (1..DOWNLOADS).fold(download(), |ended, _| ended.or_else(|_| download()))
}

/// An environment of Python's with this package, in a folder of the target directory; kept from one run of the tests to the
/// next.
///
/// # Errors
/// Why it can't be had.
pub fn python_environment(folder: &str, package: &str) -> Result<PathBuf, String> {
    let environment = target_directory().join(folder);
    // Written when all of it is there.
    let installed = environment.join("installed");
    if !fs::read_to_string(&installed).is_ok_and(|installed| installed == package) {
        done(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = environment.join("bin/pip");
        downloaded(Command::new(pip).args(["install", "--quiet", package]))?;
        fs::write(installed, package).map_err(|error| error.to_string())?;
    }
    Ok(environment)
}

/// What is installed; None, and a word about it, where that can't be had.
pub fn known<'a, T>(what: &str, found: &'a Result<T, String>) -> Option<&'a T> {
    found.as_ref().map_err(|why| not_tested(what, why)).ok()
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
