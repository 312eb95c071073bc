//! The suite that `executor-runtime plugin check` runs.

use crate::template;
use executor_runtime::{
    Runtime,
    component::CodeCache,
    conformance::{self, Check, Suite, Verdict},
};
use std::{fmt::Write as _, path::Path};

/// Runs every check on a plugin file.
///
/// # Panics
/// If this machine can't run a host.
pub fn check(path: impl AsRef<Path>) -> Vec<Check> {
    template::ensure_linked();
    let runtime = Runtime::new().unwrap_or_else(|error| panic!("this machine can't run a host: {error}"));
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    let suite = Suite {
        native: runtime.native_plugins(),
        cache: CodeCache::new(directory.path().join("cache")),
    };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let executor = executor.unwrap_or_else(|error| panic!("this machine can't run a host: {error}"));
    executor.block_on(conformance::check(&suite, path.as_ref()))
}

/// Runs every check on a plugin file, and panics with all that failed.
///
/// # Panics
/// If one has.
#[track_caller]
pub fn assert_conforms(path: impl AsRef<Path>) {
    let path = path.as_ref();
    let mut failures = String::new();
    for check in check(path) {
        if let Verdict::Failed { found, mend } = &check.verdict {
            // Writing to a string can't fail.
            let _ = write!(
                failures,
                "\n  {}: {}\n    found: {found}\n    mend: {mend}",
                check.name, check.promise
            );
        }
    }
    assert!(
        failures.is_empty(),
        "'{}' does not conform:{failures}",
        path.display()
    );
}
