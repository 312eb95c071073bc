//! The example plugins of `plugin-sdk/examples`, built in each language as their authors would build them.

use crate::{
    c, fixtures,
    guest_tools::{copy_files, run},
    home::{CommandOutput, Home},
    javascript, python,
};
use guest_build::{Toolchain, target_directory, without_outer_cargo, workspace};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the examples in a language.
pub fn source(language: &str) -> PathBuf {
    workspace().join("plugin-sdk/examples").join(language)
}

/// In Rust, built with what the workspace has compiled already. On a machine without the target that `plugin build` asks
/// for, by another toolchain.
///
/// # Panics
/// When they can't be built.
pub fn rust_component() -> PathBuf {
    if Toolchain::rustup().is_err() {
        return fixtures::component("examples-rust");
    }
    let folder = source("rust").display().to_string();
    let home = Home::new();
    let mut build = home.command(&["plugin", "build", &folder, "--component"]);
    without_outer_cargo(&mut build);
    build.env("CARGO_TARGET_DIR", target_directory());
    let built = CommandOutput::from(build.output().expect("the host was built"));
    kept("examples-rust", &built.succeeds().json())
}

/// As a native library, by cargo alone: `plugin build --native` leaves out the symbols, and would compile all of the SDK again
/// for it.
pub fn rust_native() -> PathBuf {
    fixtures::native("examples-rust")
}

/// In Python. None on a machine that can't have componentize-py, which then says so.
///
/// # Panics
/// When they can't be built although it is there.
pub fn python() -> Option<PathBuf> {
    let home = Home::new();
    let name = "examples-python";
    python::new_plugin(&home, name, python::venv()?);
    copy_files(&source("python"), &home.join(name));
    let built = run(&home, &["plugin", "build", name]);
    Some(kept(name, &built.succeeds().json()))
}

/// In JavaScript. None on a machine that can't have componentize-js, which then says so.
///
/// # Panics
/// When they can't be built although it is there.
pub fn javascript() -> Option<PathBuf> {
    let home = Home::new();
    let name = "examples-javascript";
    javascript::new_plugin(&home, name)?;
    copy_files(&source("javascript"), &home.join(name));
    let built = javascript::run_with_node(&home, &["plugin", "build", name]);
    Some(kept(name, &built.succeeds().json()))
}

/// In C. None on a machine that can't have Zig, which then says so.
///
/// # Panics
/// When they can't be built although it is there.
pub fn c() -> Option<PathBuf> {
    let home = Home::new();
    let name = "examples-c";
    c::new_plugin(&home, name, Some(&source("c")))?;
    let built = c::run(&home, &["plugin", "build", name]);
    Some(kept(name, &built.succeeds().json()))
}

/// The file that was built, where it outlives its folder.
fn kept(name: &str, built: &Value) -> PathBuf {
    let folder = target_directory().join("languages");
    let built = Path::new(built[0]["path"].as_str().expect("a file was built"));
    let kept = folder.join(name).with_extension("wasm");
    // Not in place: another process of the tests may have it open.
    let copied = kept.with_extension(format!("{}.tmp", std::process::id()));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(built, &copied))
        .and_then(|_| fs::rename(&copied, &kept))
        .expect("the target directory is writable");
    kept
}
