//! Debian's packages, which tests install where they are missing.

use crate::guest_tools::done;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Installs these packages, each given with a program or an absolute path of a file by which it is known to be there.
///
/// # Errors
/// What apt said.
pub fn install(packages: &[(&str, &str)]) -> Result<(), String> {
    let is_there = |known_by: &str| match Path::new(known_by).is_absolute() {
        true => Path::new(known_by).exists(),
        false => program(known_by).is_some(),
    };
    let missing: Vec<_> = packages
        .iter()
        .filter(|(_, known_by)| !is_there(known_by))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        done(
            Command::new("apt-get")
                .args(["--quiet", "--yes"])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"][..], &missing].concat())
}
