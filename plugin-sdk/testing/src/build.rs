//! Builds the plugin under test with cargo.
//!
//! `cargo test` compiles a plugin's crate for the test, not as the plugin. These build the plugin file, in the usual
//! target directory, which takes no time when it is up to date.

use std::{env, path::PathBuf, process::Command};

/// The component of the crate in this directory (`env!("CARGO_MANIFEST_DIR")`), in the profile `release`. It needs
/// Rust's target `wasm32-wasip2`.
///
/// # Panics
/// If it can't be built, with what cargo says.
pub fn component(manifest_directory: &str) -> PathBuf {
    build(
        manifest_directory,
        &["--release", "--target", "wasm32-wasip2"],
        ".wasm",
    )
}

/// The native library of the crate in this directory (`env!("CARGO_MANIFEST_DIR")`), in the profile of the test, so that
/// what was compiled for the test is not compiled again: `cargo test --release` tests what is shipped.
///
/// # Panics
/// If it can't be built, with what cargo says.
pub fn native(manifest_directory: &str) -> PathBuf {
    let profile: &[&str] = if cfg!(debug_assertions) {
        &[]
    } else {
        &["--release"]
    };
    build(manifest_directory, profile, ".so")
}

fn build(directory: &str, arguments: &[&str], extension: &str) -> PathBuf {
    let output = cargo()
        .current_dir(directory)
        .args(["build", "--lib", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cargo can't be started: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the plugin in {directory} can't be built:\n{errors}"
    );
    let manifest = format!("{directory}/Cargo.toml");
    let messages = String::from_utf8_lossy(&output.stdout);
    let files = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["manifest_path"] == *manifest)
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten();
    let mut names = files.filter_map(|file| file.as_str().map(PathBuf::from));
    let found = names.rfind(|file| file.to_string_lossy().ends_with(extension));
    found.unwrap_or_else(|| {
        panic!("the crate in {directory} makes no {extension}: its crate-type has no \"cdylib\"")
    })
}

/// Cargo, without what the cargo that runs the test has said of the test's package. There are build scripts that watch
/// these variables (`ring`'s does), and would be run again by each of the two in turn, with all that is built on them.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let is_of_package = name
            .to_str()
            .is_some_and(|name| OF_PACKAGE.iter().any(|prefix| name.starts_with(prefix)));
        if is_of_package {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// What begins the names of these variables.
const OF_PACKAGE: [&str; 6] = [
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
];
