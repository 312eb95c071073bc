//! A user's empty home, and the host's command line used there.

use crate::host_binary;
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A user's empty home, and the binary run in it.
pub struct Home(tempfile::TempDir);

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A new, empty home.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The host's command line in this home, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&host_binary(), arguments)
    }

    /// The same with an executable of the test's choice.
    pub fn command_of(&self, executable: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable);
        command
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_DATA_HOME", self.join("data"))
            .env("XDG_CACHE_HOME", self.join("cache"))
            .env("XDG_CONFIG_HOME", self.join("config"))
            .env_remove("EXECUTOR_RUNTIME_PLUGINS_DIR");
        command
    }

    /// Runs the host's command line to its end.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.command(arguments).output().unwrap().into()
    }

    /// Makes a new plugin.
    pub fn make(&self, name: &str) {
        self.run(&[
            "plugin",
            "new",
            name,
            "--sdk",
            &guest_build::workspace().display().to_string(),
        ])
        .succeeds();
    }

    /// How many components are compiled already.
    pub fn compiled(&self) -> usize {
        fs::read_dir(self.join("cache/executor-runtime")).map_or(0, Iterator::count)
    }

    /// Where `install` puts plugins.
    pub fn plugins(&self) -> PathBuf {
        self.join("data/executor-runtime/plugins")
    }

    /// Writes a file that only its owner may change, and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path.display().to_string()
    }
}

/// What the binary printed, and how it exited.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Its output.
    pub stdout: String,
    /// Its messages.
    pub stderr: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl CommandOutput {
    /// It has to have succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It has to have failed, with these words.
    #[track_caller]
    pub fn fails_with(self, words: &str) -> Self {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stderr.contains(words), "{}", self.stderr);
        self
    }

    /// The document that it printed.
    ///
    /// # Panics
    /// When that is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The verdict on each check of a report, with its reason.
///
/// # Panics
/// When it is no report.
pub fn verdicts(report: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| {
            (
                text(&check["name"]),
                text(&check["verdict"]),
                text(&check["reason"]),
            )
        })
        .collect()
}
