//! The tools of guest languages, and the host that builds plugins by them.

use crate::{
    home::{CommandOutput, Home},
    installed::cache,
};
use std::process::{Command, Stdio};

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
