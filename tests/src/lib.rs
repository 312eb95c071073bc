//! What the end-to-end tests and benches share: the host binary, directories, invocations, process searches.

pub mod component;
pub mod fixtures;
pub mod kind;
pub mod plugins;
pub mod scripted;
pub mod server;

use std::path::PathBuf;

/// The host binary, built with the same profile as the caller.
pub fn host_binary() -> PathBuf {
    let executable = std::env::current_exe().expect("an executable has a path");
    // target/<profile>/deps/<name>: the host is two up.
    let profile = executable.ancestors().nth(2).expect("cargo's layout");
    let host = profile.join("executor-runtime");
    assert!(
        host.is_file(),
        "{} is missing: build the host first",
        host.display()
    );
    host
}
