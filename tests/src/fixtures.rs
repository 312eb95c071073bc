//! Builds the fixture guests.
//!
//! A test asks for a fixture by name and gets the path of its component; it is built first if it is out of
//! date, by the same cargo and into the same target directory as the test itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The target that components are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// The component of the fixture package `name`, such as `fixture-behaviours`.
///
/// # Panics
/// When it can't be built: there is nothing to test then.
pub fn component(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return path.clone();
    }
    let target_directory = target_directory();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", &target_directory)
        // Debug information is nine tenths of such a small component.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .args(["--package", name]);
    // What cargo tells the test about its own package is not about the fixture's.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "building {name} for {TARGET} failed");
    let file = format!("{}.wasm", name.replace('-', "_"));
    let path = target_directory.join(TARGET).join("release").join(file);
    built.insert(name.to_owned(), path.clone());
    path
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The target directory that this very program was built into.
fn target_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf)
}
