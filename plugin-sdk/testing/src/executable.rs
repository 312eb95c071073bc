//! Finds the host's executable.

use crate::process::Process;
use semver::Version;
use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// Names the host's executable.
pub const EXECUTABLE_VARIABLE: &str = "EXECUTOR_RUNTIME_EXECUTABLE";

const NAME: &str = "executor-runtime";

/// The oldest host whose command line and documents are understood here.
const OLDEST: Version = Version::new(0, 1, 0);

/// The checkout that this crate lies in, if it lies in one.
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The host's executable, looked for once.
///
/// # Panics
/// If there is none, or one of another version than this crate understands.
pub(crate) fn host() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let path = Places::of_this_process().find()?;
        check_version(&path).map(|()| path)
    });
    match found {
        Ok(path) => path,
        Err(problem) => panic!("{problem}"),
    }
}

/// Where an executable may be.
struct Places {
    variable: Option<OsString>,
    /// The executable of the test.
    test: Option<PathBuf>,
    checkout: PathBuf,
    path: Option<OsString>,
}

impl Places {
    fn of_this_process() -> Self {
        Self {
            variable: env::var_os(EXECUTABLE_VARIABLE).filter(|value| !value.is_empty()),
            test: env::current_exe().ok(),
            checkout: CHECKOUT.into(),
            path: env::var_os("PATH"),
        }
    }

    /// The first that there is: what the variable names, what was built into the target directory of the test, what was
    /// built in the checkout that this crate is from, and what is installed.
    fn find(&self) -> Result<PathBuf, String> {
        if let Some(named) = &self.variable {
            let path = PathBuf::from(named);
            return match is_executable(&path) {
                true => Ok(path),
                false => Err(format!(
                    "{EXECUTABLE_VARIABLE}='{}': it is not an executable file; set it to the path of the host's \
                     executable, '{NAME}'",
                    path.display()
                )),
            };
        }
        let candidates = self.candidates();
        let found = candidates.iter().find(|path| is_executable(path));
        found.cloned().ok_or_else(|| not_found(&candidates))
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut candidates = Vec::new();
        // target/PROFILE/deps/TEST; with --target, it is a folder deeper.
        let ancestors = self.test.iter().flat_map(|test| test.ancestors().skip(2).take(3));
        for ancestor in ancestors {
            candidates.extend([ancestor.join(NAME), ancestor.join("release").join(NAME)]);
        }
        candidates.push(self.checkout.join("target/release").join(NAME));
        candidates.extend(
            self.path
                .iter()
                .flat_map(env::split_paths)
                .map(|folder| folder.join(NAME)),
        );
        candidates
    }
}

fn not_found(candidates: &[PathBuf]) -> String {
    let mut text = format!(
        "the host's executable '{NAME}' was not found. {EXECUTABLE_VARIABLE} is not set, and none is at"
    );
    for path in candidates {
        // Writing to a string can't fail.
        let _ = write!(text, "\n  {}", path.display());
    }
    text.push_str(
        "\nto do: install the host in a directory of PATH, or build it (`cargo build --release` in a checkout of \
         executor-runtime), and set ",
    );
    text + EXECUTABLE_VARIABLE + " to its path if it is elsewhere"
}

/// A file that somebody may execute: not, say, a checkout of the same name.
fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Whether the executable is a host that this crate understands; else why not.
fn check_version(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let mut command = Command::new(path);
    command.arg("--version");
    let ended = Process::start(&mut command)
        .map_err(|error| format!("'{shown}' can't be run: {error}"))?
        .end_within(Duration::from_secs(30))
        .ok_or_else(|| format!("'{shown} --version' did not end; is it executor-runtime's host?"))?;
    let printed = String::from_utf8_lossy(&ended.stdout);
    // Which build it is follows.
    let version = printed
        .strip_prefix(NAME)
        .and_then(|rest| rest.split_whitespace().next());
    let Some(version) = version.and_then(|version| Version::parse(version).ok()) else {
        return Err(format!(
            "'{shown}' is not executor-runtime's host: asked for its version, it printed '{}'",
            printed.trim().escape_debug()
        ));
    };
    if version < OLDEST {
        return Err(format!(
            "'{shown}' is version {version}, but this crate needs {OLDEST} or newer: install or build a newer host"
        ));
    }
    Ok(())
}

/// What to say of output that is not what this crate knows.
pub(crate) fn not_understood(command: &OsStr, problem: impl fmt::Display) -> String {
    format!(
        "what '{} {}' printed is not understood: {problem}; use a host and an executor-runtime-testing of the same \
         release",
        host().display(),
        command.to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program(path: &Path, script: &str) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Not written by this process, which would pass the open file on to what another test starts.
        let written = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2\" && chmod +x \"$2\"",
                "sh",
                script,
            ])
            .arg(path)
            .status();
        assert!(written.unwrap().success());
        path.to_owned()
    }

    fn places(root: &Path) -> Places {
        Places {
            variable: None,
            test: Some(root.join("crate/target/debug/deps/plugin-0123")),
            checkout: root.join("checkout"),
            path: Some(env::join_paths([root.join("nothing"), root.join("bin")]).unwrap()),
        }
    }

    #[test]
    fn the_variable_comes_first_then_what_was_built_then_what_is_installed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let mut places = places(root);
        // A folder of that name is none.
        fs::create_dir_all(root.join("crate/executor-runtime")).unwrap();
        for place in [
            "bin/executor-runtime",
            "checkout/target/release/executor-runtime",
            "crate/target/release/executor-runtime",
            "crate/target/debug/executor-runtime",
        ] {
            let path = program(&root.join(place), "");
            assert_eq!(places.find(), Ok(path), "{place}");
        }
        let other = program(&root.join("other"), "");
        places.variable = Some(other.clone().into());
        assert_eq!(places.find(), Ok(other));
        places.variable = Some(root.join("missing").into());
        let problem = places.find().unwrap_err();
        assert!(problem.starts_with("EXECUTOR_RUNTIME_EXECUTABLE='"), "{problem}");
        assert!(
            problem.contains("missing': it is not an executable file"),
            "{problem}"
        );
    }

    #[test]
    fn without_any_it_is_said_what_was_looked_for_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let problem = places(root.path()).find().unwrap_err();
        for words in [
            "EXECUTOR_RUNTIME_EXECUTABLE is not set",
            "crate/target/release/executor-runtime\n",
            "checkout/target/release/executor-runtime\n",
            "bin/executor-runtime\n",
            "install the host in a directory of PATH, or build it (`cargo build --release`",
        ] {
            assert!(problem.contains(words), "'{words}' in {problem}");
        }
    }

    #[test]
    fn an_older_or_another_program_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("executor-runtime");
        for (script, expected) in [
            ("echo executor-runtime 0.1.0", None),
            ("echo executor-runtime 7.0.0", None),
            ("echo 'executor-runtime 0.1.0 (build 0123456789abcdef)'", None),
            (
                "echo executor-runtime 0.0.9",
                Some("is version 0.0.9, but this crate needs 0.1.0 or newer"),
            ),
            ("echo another 1.0.0", Some("it printed 'another 1.0.0'")),
            ("exit 2", Some("it printed ''")),
        ] {
            let checked = check_version(&program(&path, script));
            match (checked, expected) {
                (Ok(()), None) => {}
                (Err(problem), Some(words)) => assert!(problem.contains(words), "{problem}"),
                (checked, _) => panic!("{script}: {checked:?}"),
            }
        }
    }
}
