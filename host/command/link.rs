//! How the two executables are linked, so that they are small and start fast. A part of both build scripts.

use std::{env, fs, path::Path, process::Command};

/// Tells cargo.
pub(crate) fn arguments() {
    // Symbols are more than half of an executable, and no message needs them.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    if glibc_knows_relr() {
        // Otherwise a twentieth of the executables are relocations.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    if linker_folds() {
        // Functions of the same code become one: nothing here tells functions apart by their address.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
    if let Some(unwinder) = static_unwinder() {
        println!("cargo::rustc-link-arg-bins=-Wl,--push-state,--whole-archive,{unwinder},--pop-state");
    }
}

/// Whether the linker that rustc uses knows `--icf`, as LLVM's does and GNU's does not: it is tried.
fn linker_folds() -> bool {
    let (Some(rustc), Some(out)) = (env::var_os("RUSTC"), env::var_os("OUT_DIR")) else {
        return false;
    };
    let source = Path::new(&out).join("linked.rs");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    fs::write(&source, "fn main() {}").is_ok()
        && Command::new(rustc)
            .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
            .args(["--target", &env::var("TARGET").unwrap_or_default()])
            .args(["-C", "link-arg=-Wl,--icf=all", "--out-dir"])
            .arg(&out)
            .arg(&source)
            .output()
            .is_ok_and(|linked| linked.status.success())
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
