//! Plugins in C: Zig, installed once for all tests, and what `plugin new` makes.

use crate::{
    guest_tools::{copy_files, known, python_environment},
    home::{CommandOutput, Home},
    installed::cache,
};
use guest_build::target_directory;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// As `plugin new` names it.
pub const ZIG: &str = "ziglang==0.17.1";

/// An environment with Zig, kept from one run of the tests to the next, as is what Zig compiles of its library. None on a
/// machine that can't have it, which then says so.
pub fn venv() -> Option<&'static Path> {
    static VENV: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| python_environment("c/venv", ZIG));
    known("plugins in C with Zig", &VENV).map(PathBuf::as_path)
}

/// Runs the host's command line, with the caches that the tests share.
///
/// # Panics
/// When the host can't be started.
pub fn run(home: &Home, arguments: &[&str]) -> CommandOutput {
    command(home, arguments)
        .output()
        .expect("the host was built")
        .into()
}

/// The host's command line, with the caches that the tests share.
pub fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command
        .env("XDG_CACHE_HOME", cache())
        .env("ZIG_GLOBAL_CACHE_DIR", target_directory().join("c/zig-cache"));
    command
}

/// A plugin that `plugin new` has made in `home`, with the environment that is there for all, and these files of the
/// folder `source` in the place of its own.
///
/// # Panics
/// When there is no room for it.
pub fn new_plugin(home: &Home, name: &str, source: Option<&Path>) -> Option<()> {
    let venv = venv()?;
    run(home, &["plugin", "new", name, "--lang", "c"]).succeeds();
    let folder = home.join(name);
    symlink(venv, folder.join(".venv")).expect("a new plugin has no environment");
    if let Some(source) = source {
        fs::remove_file(folder.join("test_plugin.c")).expect("a new plugin has a test");
        copy_files(source, &folder);
    }
    Some(())
}
