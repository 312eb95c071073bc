//! The host's command line, in a place of its own.

use crate::{
    directory::Directory,
    executable,
    process::{Ended, Process},
};
use std::{
    ffi::OsStr,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A directory, and the operator's configuration in it. What the user who runs the test has configured or installed
/// is no part of it.
#[derive(Debug)]
pub(crate) struct Place(Directory);

impl Place {
    pub(crate) fn new(config: &str) -> Self {
        let directory = Directory::new().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let place = Self(directory);
        // A host refuses configuration that others may write to, whatever the umask is.
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(place.config())
            .and_then(|mut file| file.write_all(config.as_bytes()));
        if let Err(error) = written {
            panic!("'{}' can't be written: {error}", place.config().display());
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("executor-runtime.toml")
    }

    /// Starts the host.
    pub(crate) fn start(&self, arguments: &[&OsStr]) -> Process {
        let host = executable::host();
        let mut command = Command::new(host);
        command
            .args(["--format", "json", "--log-level", "info", "--config"])
            .arg(self.config())
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env_remove("EXECUTOR_RUNTIME_PLUGINS_DIR");
        if let Some(cache) = cache() {
            command.env("XDG_CACHE_HOME", cache);
        }
        Process::start(&mut command)
            .unwrap_or_else(|error| panic!("'{}' can't be run: {error}", host.display()))
    }

    /// Runs the host to its end.
    pub(crate) fn run(&self, arguments: &[&OsStr]) -> Ended {
        let ended = self.start(arguments).end();
        ended.unwrap_or_else(|error| panic!("what the host has printed can't be read: {error}"))
    }
}

/// Where compiled components are kept: beside the tests, so that no test compiles what another one has compiled, and
/// `cargo clean` removes them.
fn cache() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.with_file_name("host-cache"))
}
