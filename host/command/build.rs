//! Leaves symbols out of the executable, and makes the build id that the two executables compare: a digest of the sources that both are made from.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

/// What both executables are built from, seen from here.
const SOURCES: [&str; 5] = [
    "..",
    "../../plugin-sdk/protocol",
    "../../plugin-sdk/tls",
    "../../wit",
    "../../Cargo.lock",
];

fn main() -> io::Result<()> {
    // Symbols are more than half of the executable, and no message needs them.
    println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    if let Some(unwinder) = static_unwinder() {
        println!("cargo::rustc-link-arg-bins=-Wl,--push-state,--whole-archive,{unwinder},--pop-state");
    }
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut digest = DefaultHasher::new();
    for file in files {
        file.hash(&mut digest);
        fs::read(&file)?.hash(&mut digest);
    }
    println!(
        "cargo::rustc-env=EXECUTOR_RUNTIME_BUILD_ID={:016x}",
        digest.finish()
    );
    Ok(())
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

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.exists() {
        files.push(path.to_owned());
    }
    Ok(())
}
