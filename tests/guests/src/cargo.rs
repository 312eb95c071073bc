//! Calls of cargo from within a program that cargo itself has started.
//!
//! Cargo tells such a program about its package: `CARGO_MANIFEST_DIR`, `CARGO_PKG_NAME` and the like. A build script
//! that watches one of them (`ring`'s watches a dozen) runs again whenever the value differs from the last build's, and
//! everything above it is compiled again. So a nested call gets none of what the outer cargo has set.

use std::{env, ffi::OsStr, process::Command};

/// Variables of cargo that a person or a machine sets, by prefix: they are for the nested call, too.
const SETTINGS: &[&str] = &[
    "CARGO_ALIAS_",
    "CARGO_BUILD_",
    "CARGO_CACHE_",
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_INCREMENTAL",
    "CARGO_INSTALL_ROOT",
    "CARGO_LOG",
    "CARGO_NET_",
    "CARGO_PROFILE_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TARGET_",
    "CARGO_TERM_",
    "CARGO_UNSTABLE_",
];

/// Cargo, to be called with the environment that the outermost cargo was called with.
pub fn cargo_command() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    without_outer_cargo(&mut cargo);
    cargo
}

/// Keeps what the outer cargo has set from a command that calls cargo.
pub fn without_outer_cargo(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_set_by_cargo(&name) {
            command.env_remove(name);
        }
    }
}

fn is_set_by_cargo(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    match name {
        "CARGO" | "OUT_DIR" | "CARGO_TARGET_TMPDIR" => true,
        _ => name.starts_with("CARGO_") && !SETTINGS.iter().any(|setting| name.starts_with(setting)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_test_was_told_of_its_package_is_not_passed_on() {
        let command = cargo_command();
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR"] {
            assert!(env::var_os(name).is_some(), "cargo sets {name}");
            let change = command.get_envs().find(|(changed, _)| *changed == name);
            assert_eq!(change, Some((OsStr::new(name), None)));
        }
    }

    #[test]
    fn what_a_person_sets_is() {
        for name in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_NET_OFFLINE",
            "PATH",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!is_set_by_cargo(OsStr::new(name)), "{name}");
        }
    }
}
