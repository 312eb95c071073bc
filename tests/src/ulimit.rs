//! A host that may have only so much of something, because of a limit that the shell sets.

use crate::{Scene, copy_executable, host_binary};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

/// Bash, because `sh` may not have every option.
const SHELL: &str = "bash";

/// The host with these arguments under a limit such as `-n 12`.
pub fn host(scene: &Scene, limit: &str, arguments: &[&str]) -> Command {
    let script = format!("ulimit {limit} && exec \"$@\"");
    let host = host_binary();
    let first = [
        "-c",
        &script,
        SHELL,
        host.to_str().expect("cargo's paths are UTF-8"),
    ];
    scene.host_from(Path::new(SHELL), &[&first[..], arguments].concat())
}

/// The host under a limit such as `-u 3`, run by a user who has no process outside the scene, and no privileges that would lift
/// the limit. That takes root: None for others.
pub fn host_of_unused_user(scene: &Scene, limit: &str, arguments: &[&str]) -> Option<Command> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    // Where that user reaches all of it.
    let host = scene.path("host");
    if !host.exists() {
        copy_executable(&host_binary(), &host);
        let engine = "executor-runtime-engine";
        copy_executable(&host_binary().with_file_name(engine), &scene.path(engine));
        fs::set_permissions(scene.root(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    }
    let user = user_of(scene);
    let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
    let script = format!("ulimit {limit} && exec \"$@\"");
    let host = host.to_str().expect("temporary directories are UTF-8");
    let first = [&user, &group, "--clear-groups", SHELL, "-c", &script, SHELL, host];
    Some(scene.host_from(Path::new("setpriv"), &[&first[..], arguments].concat()))
}

/// A user id of the scene's own: tests that run meanwhile have other scenes.
fn user_of(scene: &Scene) -> u64 {
    let metadata = scene.root().metadata().expect("the scene has a directory");
    1_000_000 + metadata.ino() % 2_000_000_000
}
