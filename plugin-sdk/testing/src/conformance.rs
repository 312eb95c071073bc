//! The suite that `executor-runtime plugin check` runs.

use crate::{command::Place, executable::not_understood};
use serde::Deserialize;
use std::{
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed {
        /// What was found.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// It could not be looked at.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// One check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Check {
    /// What was checked: `loads`, `deadline`. A newer host may have checks of more names.
    pub name: String,
    /// What is true of a plugin that passes.
    pub promise: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Every check of one file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Whether no check failed.
    pub passed: bool,
    /// Every check.
    pub checks: Vec<Check>,
}

impl Report {
    /// How one check ended.
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        let check = self.checks.iter().find(|check| check.name == name)?;
        Some(&check.verdict)
    }
}

/// Runs every check on a plugin file.
///
/// # Panics
/// If there is no host, or it can't run here.
pub fn check(path: impl AsRef<Path>) -> Report {
    let path =
        std::path::absolute(path).unwrap_or_else(|error| panic!("the plugin's path can't be used: {error}"));
    let arguments = [OsStr::new("plugin"), OsStr::new("check"), path.as_os_str()];
    let ended = Place::new("").run(&arguments);
    match serde_json::from_slice(&ended.stdout) {
        Ok(report) => report,
        Err(_) if ended.stdout.is_empty() => {
            panic!("'{}' can't be checked: {}", path.display(), ended.stderr.trim())
        }
        Err(error) => panic!("{}", not_understood(OsStr::new("plugin check"), error)),
    }
}

/// Runs every check on a plugin file, and panics with all that failed.
///
/// # Panics
/// If one has.
#[track_caller]
pub fn assert_conforms(path: impl AsRef<Path>) {
    let report = check(path);
    let mut failures = String::new();
    for check in &report.checks {
        if let Verdict::Failed { reason, remedy } = &check.verdict {
            // Writing to a string can't fail.
            let _ = write!(
                failures,
                "\n  {}: a plugin {}\n    found: {reason}\n    to do: {remedy}",
                check.name, check.promise
            );
        }
    }
    assert!(
        report.passed,
        "'{}' does not conform:{failures}",
        report.path.display()
    );
}
