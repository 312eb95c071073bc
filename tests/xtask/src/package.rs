//! What authors get can be published, and builds from what would be.

use crate::{authors::cargo_home_of_this_machine, cargo};
use anyhow::Result;
use std::{fs, io, path::Path};

/// The crates, in the order in which they are published.
const CRATES: [&str; 4] = [
    "executor-runtime-protocol",
    "executor-runtime-tls",
    "executor-runtime-sdk",
    "executor-runtime-testing",
];

/// Packs the crates, and builds each from its package and those of the others.
pub(crate) fn package() -> Result<()> {
    forget_packages()?;
    let packages = CRATES.map(|name| format!("--package={name}"));
    let packages = packages.each_ref().map(String::as_str);
    cargo(&[&["package", "--allow-dirty"][..], &packages].concat())
}

/// Has cargo forget the packages of an earlier time: it takes two of one version for the same, which those of a registry are.
fn forget_packages() -> Result<()> {
    let unpacked = cargo_home_of_this_machine().join("registry/src");
    for registry in directory(&unpacked)? {
        // The name of a registry is that of its host, and a digest; the folder with our packages has no host.
        if !registry.file_name().as_encoded_bytes().starts_with(b"-") {
            continue;
        }
        for package in directory(&registry.path())? {
            let name = package.file_name();
            if CRATES.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
                fs::remove_dir_all(package.path())?;
            }
        }
    }
    let packages = CRATES.map(|name| format!("--package={name}"));
    let packages = packages.each_ref().map(String::as_str);
    cargo(&[&["clean", "--quiet"][..], &packages].concat())
}

/// What is in a directory; nothing where there is none.
fn directory(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}
