//! Links the executable so that it is small, and makes the build id that the two executables compare: a digest of the sources that both are made from.

mod link;

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
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
    link::arguments();
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

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.exists() && path.extension().is_none_or(|extension| extension != "md") {
        files.push(path.to_owned());
    }
    Ok(())
}
