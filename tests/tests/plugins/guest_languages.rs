//! What the tests of plugins in other languages than Rust have in common.

use executor_runtime_protocol::RuntimeResult;
use executor_runtime_tests::{
    home::{CommandOutput, Home},
    installed::cache,
};
use std::process::{Command, Stdio};

/// Runs a tool of the language's to its end.
pub(super) fn done(command: &mut Command) -> Result<(), String> {
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
pub(super) fn run(home: &Home, arguments: &[&str]) -> CommandOutput {
    let mut command = home.command(arguments);
    command.env("XDG_CACHE_HOME", cache()).output().unwrap().into()
}

pub(super) fn receipt<'a>(result: &'a RuntimeResult, key: &str) -> &'a str {
    result.metadata.get(key).map_or("", String::as_str)
}

pub(super) fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

/// What is between the fences after a mark in a guide.
pub(super) fn shown(guide: &str, language: &str, name: &str) -> String {
    let (_, after) = guide
        .split_once(&format!("<!-- test: {name} -->\n```{language}\n"))
        .unwrap();
    after.split_once("```").unwrap().0.to_owned()
}
