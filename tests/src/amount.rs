//! How much a test does: what fits into each test run, or as much as is promised.

use std::env;

/// Set by `cargo xtask soak`.
pub const FULL_VARIABLE: &str = "EXECUTOR_RUNTIME_TEST_IN_FULL";

/// The usual amount, or `full` where tests are asked to do all that is promised.
pub fn amount(usual: usize, full: usize) -> usize {
    if env::var_os(FULL_VARIABLE).is_some() {
        full
    } else {
        usual
    }
}
