//! Where the binaries under test, and the helpers of the tests, are.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

const HOST: &str = "executor-runtime";
const ENGINE: &str = "executor-runtime-engine";

/// The host binary, built with the same profile as the caller, in a place where no plugins are beside it: those
/// that the demo lays into `target/plugins` are not part of a test.
pub fn host_binary() -> PathBuf {
    static ALONE: LazyLock<PathBuf> = LazyLock::new(|| {
        // It looks for the engine beside itself.
        let folder = built(HOST).with_file_name("host-alone").join("bin");
        fs::create_dir_all(&folder).expect("the target directory is writable");
        link(ENGINE, &folder);
        link(HOST, &folder)
    });
    ALONE.clone()
}

/// Makes the binary `name` appear in `folder`; returns its path there.
fn link(name: &str, folder: &Path) -> PathBuf {
    let (built, alone) = (built(name), folder.join(name));
    if !same_file(&built, &alone) {
        // Beside its place first: other test programs do the same now.
        let linked = folder.join(format!("{name}.{}", std::process::id()));
        fs::hard_link(&built, &linked).expect("a link within the target directory");
        fs::rename(&linked, &alone).expect("a rename within a folder");
        // Renaming one name of a file onto another of the same file leaves both.
        let _ = fs::remove_file(&linked);
    }
    alone
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => one.ino() == other.ino() && one.dev() == other.dev(),
        _ => false,
    }
}

/// Copies an executable to a place where it can be started at once. Another process does it: a file that this one
/// had open for writing would be busy for as long as a child that another test starts meanwhile has it open, too.
#[track_caller]
pub fn copy_executable(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "'{}' can't be copied to '{}'",
        from.display(),
        to.display()
    );
}

/// A helper binary of this package.
pub fn helper_binary(name: &str) -> PathBuf {
    built(name)
}

/// The helper that behaves badly on request, as the first word of a command.
pub fn nasty() -> String {
    let path = helper_binary("nasty");
    path.to_str().expect("the target directory is UTF-8").to_owned()
}

fn built(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("an executable has a path");
    // target/<profile>/deps/<name>: the binaries are two up.
    let profile = executable.ancestors().nth(2).expect("cargo's layout");
    let binary = profile.join(name);
    assert!(
        binary.is_file(),
        "{} is missing: build the workspace's binaries first (cargo build --release --workspace --bins)",
        binary.display()
    );
    binary
}
