//! Builds the plugin under test with cargo.
//!
//! `cargo test` compiles a plugin's crate for the test, not as the plugin. These build the file that is shipped,
//! in the profile `release` and the usual target directory, which takes no time when it is up to date.

use std::{path::PathBuf, process::Command};

/// The component of the crate in this directory (`env!("CARGO_MANIFEST_DIR")`).
///
/// # Panics
/// If it can't be built, with what cargo says.
pub fn component(manifest_directory: &str) -> PathBuf {
    build(manifest_directory, &["--target", "wasm32-wasip2"], ".wasm")
}

/// The native library of the crate in this directory (`env!("CARGO_MANIFEST_DIR")`).
///
/// # Panics
/// If it can't be built, with what cargo says.
pub fn native(manifest_directory: &str) -> PathBuf {
    build(manifest_directory, &[], ".so")
}

fn build(directory: &str, arguments: &[&str], extension: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(directory)
        .args([
            "build",
            "--release",
            "--lib",
            "--message-format=json-render-diagnostics",
        ])
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
    let names = files.filter_map(|file| file.as_str().map(PathBuf::from));
    let found = names
        .filter(|file| file.to_string_lossy().ends_with(extension))
        .last();
    found.unwrap_or_else(|| {
        panic!("the crate in {directory} makes no {extension}: its crate-type has no \"cdylib\"")
    })
}
