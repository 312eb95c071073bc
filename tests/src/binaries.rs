//! Where the binaries under test, and the helpers of the tests, are.

use std::path::PathBuf;

/// The host binary, built with the same profile as the caller.
pub fn host_binary() -> PathBuf {
    built("executor-runtime")
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
