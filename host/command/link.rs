//! How the two executables are linked, so that they are small and start fast. A part of both build scripts.

use std::{path::Path, process::Command};

/// Tells cargo.
pub(crate) fn arguments() {
    // Symbols are more than half of an executable, and no message needs them.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    if glibc_knows_relr() {
        // Otherwise a twentieth of the executables are relocations.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if let Some(unwinder) = static_unwinder() {
        println!("cargo::rustc-link-arg-bins=-Wl,--push-state,--whole-archive,{unwinder},--pop-state");
    }
}

/// Whether programs may have packed relocations (`DT_RELR`) here: since glibc 2.36.
fn glibc_knows_relr() -> bool {
    let Ok(told) = Command::new("ldd").arg("--version").output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&told.stdout);
    let version = text.lines().next().and_then(|line| line.split(' ').next_back());
    let minor = version.and_then(|version| version.strip_prefix("2.")?.parse::<u32>().ok());
    text.contains("GLIBC") && minor.is_some_and(|minor| minor >= 36)
}

/// The compiler's archive with the unwinder, where it has one. Finding and mapping a shared library of it would be a
/// fifth of what `--version` takes.
fn static_unwinder() -> Option<String> {
    let asked = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
        .ok()?;
    let path = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    // What it does not have is printed as it was asked for.
    Path::new(&path).is_absolute().then_some(path)
}
