//! The suite that `executor-runtime plugin check` runs.

use crate::PluginHost;
use executor_runtime_conformance::{self as conformance, Report, Verdict};
use std::{fmt::Write as _, path::Path};

/// Runs every check on a plugin file.
///
/// # Panics
/// If the file is not a plugin, or this machine can't run a host.
pub fn check(path: impl AsRef<Path>) -> Report {
    let path = path.as_ref();
    let host = PluginHost::new(path);
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = executor.and_then(|executor| {
        let report = executor.block_on(conformance::check(path, host.plugins()));
        // A plugin that could not be ended may still hold a thread.
        executor.shutdown_background();
        report
    });
    report.unwrap_or_else(|error| panic!("this machine can't run a host: {error}"))
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
